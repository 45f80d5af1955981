import { type AuthorizationPolicy, FlatHeaders, parseSpiffeId, type RequestFacts } from '@inmesh/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePolicies, exactRouter, normalizeTarget, pathNormalizations } from '../src/index.js';

const origin = { source: 't', line: 1, column: 1 };
const workload = { service: 'a', namespace: 'n1', trustDomain: 'td', labels: {} };
const name = fc.constantFrom('a', 'b', 'c', 'A');
const segment = fc.constantFrom('a', 'b', 'c', 'A', 'a%2Fb', '%3B');
const path = fc.array(segment, { minLength: 0, maxLength: 3 }).map((parts) => `/${parts.join('/')}`);
const pattern = fc.oneof(
  path,
  path.map((one) => `${one}*`),
  path.map((one) => `${one}/*`),
  path.map((one) => `*${one}`),
  path.map((one) => `${one}/{*}`),
  path.map((one) => `${one === '/' ? '' : one}/{**}`),
);
const principal = fc.tuple(fc.constantFrom('n1', 'n2'), name).map(([ns, sa]) => `td/ns/${ns}/sa/${sa}`);
const optional = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T[] | undefined> =>
  fc.option(fc.array(values, { minLength: 1, maxLength: 3 }), { nil: undefined });
const source = fc.record({
  principals: optional(fc.oneof(principal, fc.constant('td/*'))),
  namespaces: optional(fc.constantFrom('n1', 'n2', 'n*')),
  notPrincipals: optional(principal),
});
const operation = fc.record({
  paths: optional(pattern),
  notPaths: optional(pattern),
  methods: optional(fc.constantFrom('GET', 'POST')),
});
const hasField = (value: object): boolean => Object.values(value).some((one) => one !== undefined);
const policy: fc.Arbitrary<AuthorizationPolicy> = fc.record({
  name: fc.constant('p'),
  namespace: fc.constant('n1'),
  action: fc.constantFrom('ALLOW' as const, 'DENY' as const),
  selector: fc.constant({}),
  origin: fc.constant(origin),
  rules: fc.array(
    fc.record({
      from: fc.option(fc.array(source.filter(hasField), { minLength: 1, maxLength: 2 }), { nil: undefined }),
      to: fc.option(fc.array(operation.filter(hasField), { minLength: 1, maxLength: 2 }), { nil: undefined }),
      origin: fc.constant(origin),
    }),
    { minLength: 1, maxLength: 2 },
  ),
});
const facts: fc.Arbitrary<RequestFacts> = fc.record({
  method: fc.constantFrom('GET', 'POST'),
  path: fc.oneof(
    path,
    path.map((one) => `${one}/`),
  ),
  authority: fc.constant('x'),
  connection: fc.option(principal, { nil: undefined }).map((id) => ({
    peer:
      id === undefined
        ? undefined
        : { id: parseSpiffeId(`spiffe://${id}`), notAfterMs: 0, fingerprint: '', serial: '', trustEpoch: 0 },
    isEncrypted: true,
    remoteIp: '10.0.0.1',
    remotePort: 1,
    localIp: '10.0.0.2',
    localPort: 80,
    sni: '',
  })),
});
const routers = [
  exactRouter,
  { isCaseInsensitive: true, ignoresTrailingSlash: true, decodesEscapes: true, cutsAtSemicolon: true },
];

describe('clause index', () => {
  it('decides as one policy after the other would', () => {
    fc.assert(
      fc.property(
        fc.array(policy, { minLength: 12, maxLength: 40 }),
        fc.array(facts, { minLength: 5, maxLength: 20 }),
        fc.constantFrom(...routers),
        (policies, requests, equivalence) => {
          const whole = compilePolicies(policies, workload, { equivalence });
          const single = policies.map((one) => ({
            action: one.action,
            set: compilePolicies([one], workload, { equivalence }),
          }));
          const hasAllow = single.some(({ action }) => action === 'ALLOW');
          const headers = new FlatHeaders([]);
          for (const one of requests) {
            const isDenied = single.some(
              ({ action, set }) => action === 'DENY' && !set.decide(one, headers).isAllowed,
            );
            const isGranted = single.some(
              ({ action, set }) => action === 'ALLOW' && set.decide(one, headers).isAllowed,
            );
            expect(whole.decide(one, headers).isAllowed).toBe(!isDenied && (!hasAllow || isGranted));
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('widens a DENY and narrows an ALLOW under a lenient router, never the other way', () => {
    fc.assert(
      fc.property(policy, facts, (one, request) => {
        const decide = (equivalence: typeof exactRouter): boolean =>
          compilePolicies([one], workload, { equivalence }).decide(request, new FlatHeaders([])).isAllowed;
        const [strict = exactRouter, lenient = exactRouter] = routers;
        if (decide(lenient)) expect(decide(strict)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('path normalization', () => {
  const target = fc
    .array(
      fc.constantFrom(
        '/',
        '//',
        'a',
        '.',
        '..',
        '%2e',
        '%2F',
        '%5c',
        '\\',
        '%61',
        '%',
        '%00',
        '#',
        '?',
        ';x',
        '%zz',
      ),
      { maxLength: 8 },
    )
    .map((parts) => `/${parts.join('')}`);
  it.each(pathNormalizations)('%s is stable, keeps the query and leaves no fragment', (mode) => {
    fc.assert(
      fc.property(target, (text) => {
        const once = normalizeTarget(text, mode);
        if (once === undefined) return;
        expect(once.startsWith('/')).toBe(true);
        expect(once).not.toContain('#');
        if (mode === 'REJECT_ESCAPED_SLASHES') {
          const path = once.split('?')[0] ?? '';
          expect(path).not.toMatch(/\/\/|\\|%2f|%5c|\/\.\.?(\/|$)/i);
        }
        if (!/%25|%%/.test(text) && mode !== 'NONE' && !/%(?![0-9a-f]{2})/i.test(text))
          expect(normalizeTarget(once, mode)).toBe(once);
      }),
      { numRuns: 1500 },
    );
  });
});
