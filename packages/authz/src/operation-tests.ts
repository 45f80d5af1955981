import { cleanAuthority, type PolicyAction, type PolicyOperation } from '@inmesh/core';
import type { RouterEquivalence } from './equivalence.js';
import { pathTest } from './path-pattern.js';
import { matchPatterns } from './string-match.js';
import { not, type Test } from './test-input.js';

/** As authorities of requests are cleaned; what stands before a final `*` is a part of one. */
function cleanPattern(pattern: string): string {
  return pattern.endsWith('*') ? pattern.toLowerCase() : cleanAuthority(pattern);
}

/** Requests by authority, in any case; the port is part of it. */
export function hostTest(patterns: readonly string[]): Test {
  const match = matchPatterns(patterns.map(cleanPattern));
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
