import type { PolicyCondition } from '@inmesh/core';
import { matchBlocks, parseAddress } from './ip-blocks.js';
import { hostTest, portTest } from './operation-tests.js';
import {
  accountTest,
  namespaceTest,
  principalTest,
  remoteIpTest,
  type SourceScope,
  trustDomainTest,
} from './source-tests.js';
import { matchPattern, matchPatterns } from './string-match.js';
import { not, type Test } from './test-input.js';

const headerKey = /^request\.headers\[([^\]]+)\]$/;

/** Name of the header that a key of `when` asks for, lower case. */
export function headerOf(key: string): string | undefined {
  return headerKey.exec(key)?.[1]?.toLowerCase();
}

function headerTest(name: string, patterns: readonly string[]): Test {
  if (name === ':authority' || name === 'host') return hostTest(patterns);
  if (name === ':method') {
    const match = matchPatterns(patterns);
    return ({ facts }) => match(facts.method);
  }
  if (name === ':path') {
    // With its query, as in Envoy: adapters have it among the headers. Who has none has no query either.
    const match = matchPatterns(patterns);
    return ({ path, headers }) => match(headers.get(':path') ?? path);
  }
  // Each field line for itself: joined values would let a caller hide one (CVE-2026-26308). `*` is presence.
  const match = matchPatterns(patterns, (pattern) => (pattern === '*' ? () => true : matchPattern(pattern)));
  return ({ headers }) => {
    const values = headers.all(name);
    for (let i = 0; i < values.length; i++) if (match(values[i] ?? '')) return true;
    return false;
  };
}

function destinationIpTest(blocks: readonly string[]): Test {
  const match = matchBlocks(blocks);
  return ({ facts }) => {
    const address = parseAddress(facts.connection.localIp);
    return address !== undefined && match(address);
  };
}

function sniTest(patterns: readonly string[]): Test {
  const match = matchPatterns(patterns);
  return ({ facts }) => match(facts.connection.sni);
}

/** Makes the condition for a key; `undefined` if there is no such key. */
function makeTest(key: string, scope: SourceScope): ((values: readonly string[]) => Test) | undefined {
  const header = headerOf(key);
  if (header !== undefined) return (values) => headerTest(header, values);
  switch (key) {
    case 'source.ip': {
      return remoteIpTest;
    }
    case 'source.principal': {
      return (values) => principalTest(values, scope);
    }
    case 'source.namespace': {
      return namespaceTest;
    }
    case 'source.serviceAccount': {
      return (values) => accountTest(values, scope);
    }
    case 'source.trustDomain': {
      return (values) => trustDomainTest(values, scope);
    }
    case 'destination.ip': {
      return destinationIpTest;
    }
    case 'destination.port': {
      return portTest;
    }
    case 'connection.sni': {
      return sniTest;
    }
    default: {
      return undefined;
    }
  }
}

/** Every part of one condition. Its key was checked at load. */
export function conditionTests(condition: PolicyCondition, scope: SourceScope): readonly Test[] {
  const make = makeTest(condition.key, scope);
  if (make === undefined) throw new TypeError(`unchecked condition ${condition.key}`);
  const tests: Test[] = [];
  if (condition.values !== undefined) tests.push(make(condition.values));
  if (condition.notValues !== undefined) tests.push(not(make(condition.notValues)));
  return tests;
}
