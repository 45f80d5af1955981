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

type RunEnd = (path: string, start: number, includesSlash: boolean, limit: number) => number;

const runEnd: RunEnd = (path, start, includesSlash, limit) => {
  let i = start;
  for (; i < limit; i++) {
    const code = path.charCodeAt(i);
    if (code === 47 ? !includesSlash : code > 127 || segmentChars[code] === 0) break;
  }
  return i;
};

/** Whatever stands in a decoded path: what Envoy does not let `{*}` stand for may be an escape of what it does. */
const looseRunEnd: RunEnd = (path, start, includesSlash, limit) => {
  if (includesSlash) return limit;
  const slash = path.indexOf('/', start);
  return slash === -1 || slash > limit ? limit : slash;
};

/** The texts between the operators. */
export function templateLiterals(pattern: string): readonly string[] {
  return pattern.split(/\{\*\*?\}/);
}

/** Where one of `texts` that stands at `place` ends; -1 if none does. */
function skip(path: string, texts: readonly string[], place: number): number {
  for (let i = 0; i < texts.length; i++) {
    const text = texts[i] ?? '';
    if (path.startsWith(text, place)) return place + text.length;
  }
  return -1;
}

/** Matches literals and `{*}` from `start`; returns where they end, or -1. */
function matchHead(path: string, parts: readonly (readonly string[])[], findEnd: RunEnd): number {
  let place = 0;
  for (let i = 0; i < parts.length; i++) {
    if (i > 0) {
      const end = findEnd(path, place, false, path.length);
      if (end === place) return -1;
      place = end;
    }
    place = skip(path, parts[i] ?? [], place);
    if (place === -1) return -1;
  }
  return place;
}

/**
 * Compiles a template; `{*}` is one segment, `{**}` any number of them, also none. Anchored at both ends.
 *
 * @param spell - Spellings of a literal, for decoded paths; then operators stand for any character as well.
 */
export function matchTemplate(pattern: string, spell?: (literal: string) => readonly string[]): StringMatch {
  const findEnd = spell === undefined ? runEnd : looseRunEnd;
  const literals = templateLiterals(pattern).map((literal) => spell?.(literal) ?? [literal]);
  if (!pattern.includes('{**}')) return (path) => matchHead(path, literals, findEnd) === path.length;
  const parts = literals.slice(0, -1);
  const tails = literals.at(-1) ?? [];
  return (path) => {
    const start = matchHead(path, parts, findEnd);
    if (start === -1) return false;
    for (let i = 0; i < tails.length; i++) {
      const tail = tails[i] ?? '';
      const limit = path.length - tail.length;
      if (limit >= start && path.endsWith(tail) && findEnd(path, start, true, limit) === limit) return true;
    }
    return false;
  };
}
