/**
 * How request paths are normalized before policies and handlers see them. The first four are Istio's;
 * `REJECT_ESCAPED_SLASHES`, our default, is `MERGE_SLASHES` that refuses `%2F` and `%5C`, in any case.
 */
export type PathNormalization =
  | 'NONE'
  | 'BASE'
  | 'MERGE_SLASHES'
  | 'DECODE_AND_MERGE_SLASHES'
  | 'REJECT_ESCAPED_SLASHES';

/** Every {@link PathNormalization}, the default first. */
export const pathNormalizations: readonly PathNormalization[] = Object.freeze([
  'REJECT_ESCAPED_SLASHES',
  'NONE',
  'BASE',
  'MERGE_SLASHES',
  'DECODE_AND_MERGE_SLASHES',
]);

const slash = 47;
const percent = 37;

/** 1 for what a normal path may hold without a second look. */
const plain = new Uint8Array(128);
for (let code = 33; code < 127; code++) plain[code] = 1;
for (const code of [slash, percent, 92, 35, 63]) plain[code] = 0;

/** Whether the path part needs no work: no escapes, backslashes, fragments, empty or dot segments. */
function isNormal(target: string): boolean {
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code < 128 && plain[code] === 1) continue;
    if (code === 63) return !target.includes('#', i);
    if (code !== slash) return false;
    const next = target.charCodeAt(i + 1);
    if (next === slash || next === 46) return false;
  }
  return true;
}

function hexValue(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

function isUnreserved(code: number): boolean {
  const lower = code | 32;
  return (
    (lower >= 97 && lower <= 122) ||
    (code >= 48 && code <= 57) ||
    code === 45 ||
    code === 46 ||
    code === 95 ||
    code === 126
  );
}

/** Decodes each escape once, where `keep` does not hold it back; malformed escapes stay as they are. */
function decodeEscapes(path: string, isWanted: (code: number) => boolean): string {
  let result = '';
  let start = 0;
  for (let i = path.indexOf('%'); i !== -1; i = path.indexOf('%', i)) {
    const high = hexValue(path.charCodeAt(i + 1));
    const low = hexValue(path.charCodeAt(i + 2));
    const code = high * 16 + low;
    if (high === -1 || low === -1 || !isWanted(code)) {
      i++;
      continue;
    }
    result += path.slice(start, i) + String.fromCharCode(code);
    i += 3;
    start = i;
  }
  return start === 0 ? path : result + path.slice(start);
}

function removeDotSegments(path: string): string {
  const kept: string[] = [];
  const segments = path.split('/');
  const last = segments.length - 1;
  for (let i = 1; i <= last; i++) {
    const segment = segments[i] ?? '';
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
    if (i === last && (segment === '..' || segment === '.')) kept.push('');
  }
  return `/${kept.join('/')}`;
}

const isEscapedSlash = (code: number): boolean => code === slash || code === 92;

function normalizePath(path: string, mode: PathNormalization): string | undefined {
  if (path.includes('%00')) return undefined;
  if (mode === 'NONE') return path;
  let result = path;
  if (mode === 'REJECT_ESCAPED_SLASHES' && decodeEscapes(path, isEscapedSlash) !== path) return undefined;
  if (mode === 'DECODE_AND_MERGE_SLASHES') result = decodeEscapes(result, isEscapedSlash);
  result = removeDotSegments(decodeEscapes(result, isUnreserved).replaceAll('\\', '/'));
  return mode === 'BASE' ? result : result.replaceAll(/\/{2,}/g, '/');
}

/**
 * Normalizes a request target in origin form, as Envoy does for Istio: the fragment goes, the query stays as it is,
 * unreserved escapes are decoded once, `\` becomes `/`, dot segments are resolved, slashes merged.
 *
 * @param target - `/path?query`, or `*`.
 * @returns The same string if it is normal already; `undefined` where it must be refused with 400.
 */
export function normalizeTarget(target: string, mode: PathNormalization): string | undefined {
  const first = target.charCodeAt(0);
  if (first !== slash) return target === '*' ? target : undefined;
  if (isNormal(target)) return target;
  const hash = target.indexOf('#');
  const whole = hash === -1 ? target : target.slice(0, hash);
  const question = whole.indexOf('?');
  const path = normalizePath(question === -1 ? whole : whole.slice(0, question), mode);
  if (path === undefined) return undefined;
  return question === -1 ? path : path + whole.slice(question);
}

/** The path of a target, without query and fragment: what `paths` of a policy are matched with. */
export function pathOf(target: string): string {
  const end = target.search(/[?#]/);
  return end === -1 ? target : target.slice(0, end);
}
