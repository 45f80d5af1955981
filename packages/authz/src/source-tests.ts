import type { PolicySource } from '@inmesh/core';
import { matchBlocks } from './ip-blocks.js';
import { expandPrincipals } from './principals.js';
import { anyOf, matchGlob, matchPatterns, type StringMatch } from './string-match.js';
import { not, type Test } from './test-input.js';

/** What the meaning of a source depends on beside itself. */
export interface SourceScope {
  /** Namespace of the policy. */
  readonly namespace: string;
  /** Own trust domain. */
  readonly trustDomain: string;
  /** Other names of it. */
  readonly aliases: readonly string[];
}

function someOf(values: readonly string[], match: StringMatch): boolean {
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value !== undefined && match(value)) return true;
  }
  return false;
}

/** Peers by SPIFFE ID; never plaintext. */
export function principalTest(patterns: readonly string[], scope: SourceScope): Test {
  const match = matchPatterns(expandPrincipals(patterns, scope.trustDomain, scope.aliases));
  return ({ peer }) => peer !== undefined && match(peer.principal);
}

/** Peers by namespace; never plaintext. */
export function namespaceTest(patterns: readonly string[]): Test {
  const match = anyOf(patterns.map(matchGlob));
  return ({ peer }) => peer !== undefined && someOf(peer.namespaces, match);
}

/** Peers by service account; never plaintext. */
export function accountTest(values: readonly string[], scope: SourceScope): Test {
  const wanted = new Set(
    values.map((value) => (value.includes('/') ? value : `${scope.namespace}/${value}`)),
  );
  return ({ peer }) => peer !== undefined && someOf(peer.accounts, (account) => wanted.has(account));
}

/** Peers by trust domain; never plaintext. */
export function trustDomainTest(patterns: readonly string[], scope: SourceScope): Test {
  const isOurs = (pattern: string): boolean =>
    pattern === scope.trustDomain || scope.aliases.includes(pattern);
  const match = matchPatterns([
    ...new Set(
      patterns.flatMap((pattern) => (isOurs(pattern) ? [scope.trustDomain, ...scope.aliases] : [pattern])),
    ),
  ]);
  return ({ peer }) => peer !== undefined && match(peer.trustDomain);
}

/** Peers by address. */
export function remoteIpTest(blocks: readonly string[]): Test {
  const match = matchBlocks(blocks);
  return (input) => {
    const address = input.remoteAddress();
    return address !== null && match(address);
  };
}

/** Every condition of one source, cheapest first. */
export function sourceTests(source: PolicySource, scope: SourceScope): readonly Test[] {
  const tests: Test[] = [];
  const add = (
    values: readonly string[] | undefined,
    negated: readonly string[] | undefined,
    make: (values: readonly string[]) => Test,
  ): void => {
    if (values !== undefined) tests.push(make(values));
    if (negated !== undefined) tests.push(not(make(negated)));
  };
  add(source.principals, source.notPrincipals, (values) => principalTest(values, scope));
  add(source.namespaces, source.notNamespaces, namespaceTest);
  add(source.serviceAccounts, source.notServiceAccounts, (values) => accountTest(values, scope));
  add(source.trustDomains, source.notTrustDomains, (values) => trustDomainTest(values, scope));
  add(source.ipBlocks, source.notIpBlocks, remoteIpTest);
  return tests;
}
