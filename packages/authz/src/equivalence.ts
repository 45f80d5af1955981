/**
 * Which spellings of a path the router of an application takes for the same route. A DENY rule must catch them all;
 * an ALLOW rule must not be widened by them.
 */
export interface RouterEquivalence {
  /** `/Admin` reaches `/admin`. */
  readonly isCaseInsensitive: boolean;
  /** `/admin/` reaches `/admin`, and the other way round. */
  readonly ignoresTrailingSlash: boolean;
  /** Escapes are decoded: `/%61dmin` reaches `/admin`. */
  readonly decodesEscapes: boolean;
  /** `;` begins a query: `/admin;x` reaches `/admin`. */
  readonly cutsAtSemicolon: boolean;
}

/** A router that takes every spelling for a different route. */
export const exactRouter: RouterEquivalence = Object.freeze({
  isCaseInsensitive: false,
  ignoresTrailingSlash: false,
  decodesEscapes: false,
  cutsAtSemicolon: false,
});

/** Whether any spelling is folded at all. */
export function isFolding(router: RouterEquivalence): boolean {
  return (
    router.isCaseInsensitive || router.ignoresTrailingSlash || router.decodesEscapes || router.cutsAtSemicolon
  );
}

/** Without trailing slashes, except for the root. */
function stripSlash(path: string): string {
  let end = path.length;
  while (end > 1 && path.charCodeAt(end - 1) === 47) end--;
  return end === path.length ? path : path.slice(0, end);
}

type Decode = (escapes: string) => string;

function decodeRuns(text: string, runs: RegExp, decode: Decode): string {
  return text.replaceAll(runs, (escapes) => {
    try {
      return decode(escapes);
    } catch {
      return escapes;
    }
  });
}

const anyEscape = /(?:%[0-9a-f]{2})+/gi;
const noSlashEscape = /(?:%(?!2f|5c)[0-9a-f]{2})+/gi;

/** An escape that stays is the same in either case of its digits: who splits first decodes `%2f` and `%2F` alike. */
function foldEscapes(text: string): string {
  return text.replaceAll(/%[0-9a-f]{2}/gi, (escaped) => escaped.toUpperCase());
}

/**
 * `text` as it stands and as routers decode it: whole, without slashes (who splits first), and like `decodeURI` (Hono,
 * Fastify), which leaves what has a meaning in a URL.
 */
function decodings(text: string, router: RouterEquivalence): readonly string[] {
  if (!router.decodesEscapes || !text.includes('%')) return [text];
  return [
    text,
    decodeRuns(text, anyEscape, decodeURIComponent),
    decodeRuns(text, noSlashEscape, decodeURIComponent),
    decodeRuns(text, anyEscape, decodeURI),
  ].map(foldEscapes);
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}

/** Beyond ASCII by way of upper case, as regular expressions compare; lower case alone keeps σ and ς apart. */
function foldCase(text: string, router: RouterEquivalence): string {
  if (!router.isCaseInsensitive) return text;
  const lower = text.toLowerCase();
  return isAscii(lower) ? lower : lower.toUpperCase().toLowerCase().replaceAll('ς', 'σ');
}

/** What a literal of a pattern may look like in a path of {@link addSpellings}. */
export function foldLiteral(literal: string, router: RouterEquivalence): readonly string[] {
  return [...new Set(decodings(literal, router).map((one) => foldCase(one, router)))];
}

/** The paths that stand for one, and what clauses for them are filed under. */
export interface Spellings {
  /** Paths that a pattern must be tried on. */
  readonly paths: string[];
  /** Those without trailing slashes, where the router ignores them. */
  readonly keys: string[];
}

function addOnce(list: string[], one: string): void {
  if (!list.includes(one)) list.push(one);
}

function addFolded(path: string, router: RouterEquivalence, out: Spellings): void {
  const folded = foldCase(path, router);
  addOnce(out.paths, folded);
  // `*` and the empty path of a CONNECT have no slash to lose.
  if (!router.ignoresTrailingSlash || folded.charCodeAt(0) !== 47) {
    addOnce(out.keys, folded);
    return;
  }
  const stripped = stripSlash(folded);
  addOnce(out.keys, stripped);
  addOnce(out.paths, stripped);
  if (stripped !== '/') addOnce(out.paths, `${stripped}/`);
}

/**
 * Adds to `out` what some router of this kind may take `path` for. Of a route with a trailing slash and the same
 * without both are there.
 */
export function addSpellings(path: string, router: RouterEquivalence, out: Spellings): void {
  const cut = router.cutsAtSemicolon ? path.indexOf(';') : -1;
  if (cut !== -1) addSpellings(path.slice(0, cut), router, out);
  if (!router.decodesEscapes || !path.includes('%')) addFolded(path, router, out);
  else for (const decoded of decodings(path, router)) addFolded(decoded, router, out);
}

/** The key that an exact path of a policy is filed under; see {@link Spellings.keys}. */
export function spellingKey(path: string, router: RouterEquivalence): string {
  return router.ignoresTrailingSlash ? stripSlash(path) : path;
}
