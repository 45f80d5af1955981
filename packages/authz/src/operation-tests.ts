import type { PolicyAction, PolicyOperation } from '@inmesh/core';
import { foldPath, isFolding, type RouterEquivalence, stripSlash } from './equivalence.js';
import { isTemplate, matchTemplate } from './path-template.js';
import { anyOf, matchPattern, matchPatterns, patternKind, type StringMatch } from './string-match.js';
import { not, type Test } from './test-input.js';

/** Requests by authority, in any case; the port is part of it. */
function hostTest(patterns: readonly string[]): Test {
  const match = matchPatterns(patterns.map((pattern) => pattern.toLowerCase()));
  return ({ facts }) => match(facts.authority);
}

/** Connections by local port. */
export function portTest(ports: readonly string[]): Test {
  const wanted = new Set(ports.map(Number));
  return ({ facts }) => wanted.has(facts.connection.localPort);
}

/** Requests by method, case-sensitive. */
function methodTest(patterns: readonly string[]): Test {
  const match = matchPatterns(patterns);
  return ({ facts }) => match(facts.method);
}

function matchPath(pattern: string): StringMatch {
  return isTemplate(pattern) ? matchTemplate(pattern) : matchPattern(pattern);
}

/** Requests by path as it stands. */
function exactPathTest(patterns: readonly string[]): Test {
  const match = patterns.some(isTemplate) ? anyOf(patterns.map(matchPath)) : matchPatterns(patterns);
  return ({ path }) => match(path);
}

/** Folds a policy literal; the operators of templates survive lower-casing and decoding. */
function foldPattern(pattern: string, router: RouterEquivalence): readonly string[] {
  const folded = foldPath(pattern, { ...router, cutsAtSemicolon: false });
  if (!router.ignoresTrailingSlash) return [folded];
  if (isTemplate(pattern)) return [folded, stripSlash(folded)];
  const kind = patternKind(pattern);
  if (kind === 'exact') return [stripSlash(folded)];
  return kind === 'suffix' ? [folded, `*${stripSlash(folded.slice(1))}`] : [folded];
}

/** Requests by path in every spelling that the router takes for the same route. Only ever widens. */
function foldedPathTest(patterns: readonly string[], router: RouterEquivalence): Test {
  const match = anyOf(
    [...new Set(patterns.flatMap((pattern) => foldPattern(pattern, router)))].map(matchPath),
  );
  const exact = anyOf(patterns.map(matchPath));
  return (input) => match(input.stripped) || match(input.folded) || exact(input.path);
}

/** Requests by path. Where a match takes something away from the caller, every spelling of the router counts. */
function pathTest(patterns: readonly string[], isRestricting: boolean, router: RouterEquivalence): Test {
  return isRestricting && isFolding(router) ? foldedPathTest(patterns, router) : exactPathTest(patterns);
}

/** Every condition of one operation, cheapest first. */
export function operationTests(
  operation: PolicyOperation,
  action: PolicyAction,
  router: RouterEquivalence,
): readonly Test[] {
  const tests: Test[] = [];
  const add = (
    values: readonly string[] | undefined,
    negated: readonly string[] | undefined,
    make: (values: readonly string[]) => Test,
  ): void => {
    if (values !== undefined) tests.push(make(values));
    if (negated !== undefined) tests.push(not(make(negated)));
  };
  add(operation.ports, operation.notPorts, portTest);
  add(operation.methods, operation.notMethods, methodTest);
  if (operation.paths !== undefined) tests.push(pathTest(operation.paths, action === 'DENY', router));
  if (operation.notPaths !== undefined)
    tests.push(not(pathTest(operation.notPaths, action === 'ALLOW', router)));
  add(operation.hosts, operation.notHosts, hostTest);
  return tests;
}
