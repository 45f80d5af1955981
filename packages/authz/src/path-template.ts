import type { StringMatch } from './string-match.js';

/** Whether a policy path is a template, that is, holds a brace. */
export function isTemplate(pattern: string): boolean {
  return pattern.includes('{') || pattern.includes('}');
}

/** What `{*}` stands for, as in Envoy's `uri_template`: without `=` and `*`. */
const segmentChars = new Uint8Array(128);
for (const char of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%!$&'()+,;:@") {
  segmentChars[char.charCodeAt(0)] = 1;
}

const literal = /^[A-Za-z0-9\-._~%!$&'()+,;:@=]*$/;

/** Why `pattern` is not a template that Envoy's `uri_template` accepts; `undefined` if it is. */
export function templateFault(pattern: string): string | undefined {
  if (!pattern.startsWith('/')) return 'a path template begins with "/"';
  let hasRest = false;
  for (const segment of pattern.slice(1).split('/')) {
    if (segment === '{*}' || segment === '{**}') {
      if (hasRest) return 'only one {**} is allowed, and no operator after it';
      hasRest = segment === '{**}';
    } else if (!literal.test(segment)) {
      return `"${segment}" is neither {*}, {**} nor plain text; operators are whole segments`;
    }
  }
  return undefined;
}

function runEnd(path: string, start: number, includesSlash: boolean, limit: number): number {
  let i = start;
  for (; i < limit; i++) {
    const code = path.charCodeAt(i);
    if (code === 47 ? !includesSlash : code > 127 || segmentChars[code] === 0) break;
  }
  return i;
}

/** Matches literals and `{*}` from `start`; returns where they end, or -1. */
function matchHead(path: string, parts: readonly string[]): number {
  let place = 0;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] ?? '';
    if (i > 0) {
      const end = runEnd(path, place, false, path.length);
      if (end === place) return -1;
      place = end;
    }
    if (!path.startsWith(part, place)) return -1;
    place += part.length;
  }
  return place;
}

/** Compiles a template; `{*}` is one segment, `{**}` any number of them, also none. Anchored at both ends. */
export function matchTemplate(pattern: string): StringMatch {
  const [head = '', tail] = pattern.split('{**}');
  const parts = head.split('{*}');
  if (tail === undefined) return (path) => matchHead(path, parts) === path.length;
  return (path) => {
    const start = matchHead(path, parts);
    const limit = path.length - tail.length;
    return (
      start !== -1 && limit >= start && path.endsWith(tail) && runEnd(path, start, true, limit) === limit
    );
  };
}
