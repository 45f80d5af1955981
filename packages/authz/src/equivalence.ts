/**
 * Which spellings of a path the router of an application takes for the same route. A DENY rule must catch them all;
 * an ALLOW rule must not be widened by them.
 */
export interface RouterEquivalence {
  /** `/Admin` reaches `/admin`. */
  readonly isCaseInsensitive: boolean;
  /** `/admin/` reaches `/admin`. */
  readonly ignoresTrailingSlash: boolean;
  /** Escapes other than those of slashes are decoded: `/%61dmin` reaches `/admin`. */
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

function decodeOnce(path: string): string {
  return path.replaceAll(/(?:%[0-9a-fA-F]{2})+/g, (escapes) => {
    try {
      return decodeURIComponent(escapes);
    } catch {
      return escapes;
    }
  });
}

/** Folds the spellings that {@link RouterEquivalence} names, except the trailing slash. */
export function foldPath(path: string, router: RouterEquivalence): string {
  let result = path;
  if (router.cutsAtSemicolon) {
    const cut = result.indexOf(';');
    if (cut !== -1) result = result.slice(0, cut);
  }
  if (router.decodesEscapes && result.includes('%')) result = decodeOnce(result);
  return router.isCaseInsensitive ? result.toLowerCase() : result;
}

/** Without trailing slashes, except for the root. */
export function stripSlash(path: string): string {
  let end = path.length;
  while (end > 1 && path.charCodeAt(end - 1) === 47) end--;
  return end === path.length ? path : path.slice(0, end);
}

/** Whether any spelling is folded at all. */
export function isFolding(router: RouterEquivalence): boolean {
  return (
    router.isCaseInsensitive || router.ignoresTrailingSlash || router.decodesEscapes || router.cutsAtSemicolon
  );
}
