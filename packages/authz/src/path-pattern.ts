import { foldLiteral, isFolding, type RouterEquivalence } from './equivalence.js';
import { isTemplate, matchTemplate, templateLiterals } from './path-template.js';
import { anyOf, matchPattern, matchPatterns, patternKind, type StringMatch } from './string-match.js';
import type { Test } from './test-input.js';

function matchPath(pattern: string): StringMatch {
  return isTemplate(pattern) ? matchTemplate(pattern) : matchPattern(pattern);
}

/** Requests by path as it stands. */
function exactPathTest(patterns: readonly string[]): Test {
  const match = patterns.some(isTemplate) ? anyOf(patterns.map(matchPath)) : matchPatterns(patterns);
  return ({ path }) => match(path);
}

/** One pattern, for paths of {@link addSpellings}. Only ever widens. Decoding makes no operators. */
function matchFolded(pattern: string, router: RouterEquivalence): StringMatch {
  if (isTemplate(pattern)) return matchTemplate(pattern, (literal) => foldLiteral(literal, router));
  switch (patternKind(pattern)) {
    case 'present': {
      return (path) => path !== '';
    }
    case 'suffix': {
      return anyOf(
        foldLiteral(pattern.slice(1), router).map(
          (one): StringMatch =>
            (path) =>
              path.endsWith(one),
        ),
      );
    }
    case 'prefix': {
      return anyOf(
        foldLiteral(pattern.slice(0, -1), router).map(
          (one): StringMatch =>
            (path) =>
              path.startsWith(one),
        ),
      );
    }
    case 'exact': {
      const [first = '', ...others] = foldLiteral(pattern, router);
      return others.length === 0
        ? (path) => path === first
        : (path) => path === first || others.includes(path);
    }
  }
}

/** Requests by path in every spelling that the router takes for the same route. */
function foldedPathTest(patterns: readonly string[], router: RouterEquivalence): Test {
  const match = anyOf(patterns.map((pattern) => matchFolded(pattern, router)));
  return (input) => {
    const { paths } = input.spellings();
    for (let i = 0; i < paths.length; i++) if (match(paths[i] ?? '')) return true;
    return false;
  };
}

/** Requests by path. Where a match takes something away from the caller, every spelling of the router counts. */
export function pathTest(
  patterns: readonly string[],
  isRestricting: boolean,
  router: RouterEquivalence,
): Test {
  return isRestricting && isFolding(router) ? foldedPathTest(patterns, router) : exactPathTest(patterns);
}

/** Whether a policy path names one path. */
export function isExactPath(pattern: string): boolean {
  return !isTemplate(pattern) && patternKind(pattern) === 'exact';
}

/** What every path that `pattern` matches begins with. */
export function fixedHead(pattern: string): string {
  if (isTemplate(pattern)) return templateLiterals(pattern)[0] ?? '';
  switch (patternKind(pattern)) {
    case 'exact': {
      return `${pattern}/`;
    }
    case 'prefix': {
      return pattern.slice(0, -1);
    }
    case 'present':
    case 'suffix': {
      return '';
    }
  }
}
