import {
  type AuthorizationPolicy,
  FlatHeaders,
  type PolicyRule,
  parseSpiffeId,
  type RequestFacts,
  type Workload,
} from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import { compilePolicies, exactRouter, type PolicySetOptions } from '../src/index.js';

const origin = { source: 'test.yaml', line: 7, column: 3 };
const workload: Workload = {
  service: 'orders',
  namespace: 'shop',
  trustDomain: 'dev.local',
  labels: { app: 'orders' },
};

function policy(
  action: 'ALLOW' | 'DENY',
  rule: Omit<PolicyRule, 'origin'>,
  more: Partial<AuthorizationPolicy> = {},
): AuthorizationPolicy {
  return {
    name: 'p',
    namespace: 'shop',
    action,
    selector: {},
    rules: [{ ...rule, origin }],
    origin,
    ...more,
  };
}

function request(path: string, peer?: string, more: Partial<RequestFacts> = {}): RequestFacts {
  return {
    method: 'GET',
    path,
    authority: 'orders',
    ...more,
    connection: {
      peer:
        peer === undefined
          ? undefined
          : { id: parseSpiffeId(peer), notAfterMs: 0, fingerprint: '', serial: '', trustEpoch: 0 },
      isEncrypted: peer !== undefined,
      remoteIp: '10.0.0.9',
      remotePort: 1,
      localIp: '10.0.0.1',
      localPort: 8443,
      sni: '',
    },
  };
}

function isAllowed(
  policies: readonly AuthorizationPolicy[],
  facts: RequestFacts,
  options?: PolicySetOptions,
  raw: string[] = [],
): boolean {
  return compilePolicies(policies, workload, options).decide(facts, new FlatHeaders(raw)).isAllowed;
}

const express = { ...exactRouter, isCaseInsensitive: true, ignoresTrailingSlash: true };

describe('policy set', () => {
  it('allows by default where no ALLOW policy applies, and denies where told so', () => {
    expect(isAllowed([], request('/'))).toBe(true);
    expect(isAllowed([], request('/'), { defaultAction: 'deny' })).toBe(false);
    expect(isAllowed([policy('ALLOW', {}, { rules: [] })], request('/'))).toBe(false);
  });

  it('says which rule decided, and where it stands', () => {
    const set = compilePolicies(
      [
        policy(
          'DENY',
          { to: [{ operation: {} } as never] },
          { rules: [{ to: [{ paths: ['/a'] }], origin }] },
        ),
      ],
      workload,
    );
    expect(set.decide(request('/a'), new FlatHeaders([]))).toMatchObject({
      isAllowed: false,
      policy: 'shop/p',
      rule: 0,
      origin,
    });
  });

  it.each(['/Admin', '/admin/', '/ADMIN//'])(
    'DENY catches %s where the router takes it for /admin; ALLOW is not widened',
    (path) => {
      const deny = policy('DENY', { to: [{ paths: ['/admin'] }] });
      expect(isAllowed([deny], request(path))).toBe(true);
      expect(isAllowed([deny], request(path), { equivalence: express })).toBe(false);
      const allow = policy('ALLOW', { to: [{ paths: ['/admin'] }] });
      expect(isAllowed([allow], request(path), { equivalence: express })).toBe(false);
      expect(isAllowed([allow], request('/admin'), { equivalence: express })).toBe(true);
      const allowOthers = policy('ALLOW', { to: [{ notPaths: ['/admin'] }] });
      expect(isAllowed([allowOthers], request(path), { equivalence: express })).toBe(false);
      const denyOthers = policy('DENY', { to: [{ notPaths: ['/admin'] }] });
      expect(isAllowed([denyOthers], request(path), { equivalence: express })).toBe(false);
    },
  );

  it.each([
    ['/admin/*', '/admin/'],
    ['/admin/*', '/Admin/x/'],
    ['*/admin', '/x/ADMIN/'],
    ['/{*}/admin', '/x/Admin/'],
    ['/admin/', '/ADMIN'],
    ['/admin/*', '/admin'],
    ['/admin/*', '/ADMIN'],
    ['/admin/{**}', '/Admin'],
    ['/admin/{*}/', '/admin/x'],
    ['*/', '/admin'],
    ['/ς*', '/Σ'],
  ])('DENY %s catches %s on a lenient router', (pattern, path) => {
    expect(
      isAllowed([policy('DENY', { to: [{ paths: [pattern] }] })], request(path), { equivalence: express }),
    ).toBe(false);
  });

  it('DENY /admin/{*} leaves /admin alone: a segment is not empty', () => {
    const deny = policy('DENY', { to: [{ paths: ['/admin/{*}'] }] });
    for (const path of ['/admin', '/admin/'])
      expect(isAllowed([deny], request(path), { equivalence: express })).toBe(true);
  });

  it('takes a CONNECT, which has no path, for no path', () => {
    const deny = policy('DENY', { to: [{ paths: ['/', '/*'] }] });
    expect(isAllowed([deny], request(''), { equivalence: express })).toBe(true);
    expect(isAllowed([deny], request('/'), { equivalence: express })).toBe(false);
  });

  it('makes no operators by decoding', () => {
    const decoding = { equivalence: { ...exactRouter, decodesEscapes: true } };
    const deny = policy('DENY', { to: [{ paths: ['/a%2A', '/b/%7B*%7D'] }] });
    expect(isAllowed([deny], request('/a*'), decoding)).toBe(false);
    expect(isAllowed([deny], request('/ab'), decoding)).toBe(true);
    expect(isAllowed([deny], request('/b/x'), decoding)).toBe(true);
  });

  it('finds a template with an escaped slash among many rules, on a router that decodes', () => {
    const many = Array.from({ length: 20 }, (_, i) => policy('DENY', { to: [{ paths: [`/other${i}`] }] }));
    const deny = policy('DENY', { to: [{ paths: ['/a%2Fb/{*}'] }] });
    const decoding = { equivalence: { ...exactRouter, decodesEscapes: true } };
    for (const path of ['/a%2Fb/x', '/a%2fb/x', '/a/b/x'])
      expect(isAllowed([...many, deny], request(path), decoding)).toBe(false);
  });

  it.each([
    [':authority', 'Orders.Example', {}],
    [':authority', 'ORDERS.example.', {}],
    ['host', '*.EXAMPLE', {}],
    [':authority', 'Orders*', {}],
    [':method', 'GET', {}],
    [':path', '/a?debug=1', { raw: [':path', '/a?debug=1'] }],
    [':path', '*debug=1', { raw: [':path', '/a?debug=1'] }],
    [':path', '/a', {}],
  ] as const)(
    'DENY on request.headers[%s] %s fires',
    (name, value, { raw = [] }: { raw?: readonly string[] }) => {
      const deny = policy('DENY', { when: [{ key: `request.headers[${name}]`, values: [value] }] });
      const facts = request('/a', undefined, { authority: 'orders.example' });
      expect(isAllowed([deny], facts, {}, [...raw])).toBe(false);
      expect(isAllowed([deny], { ...facts, authority: 'x', method: 'PUT', path: '/b' })).toBe(true);
    },
  );

  it('DENY hosts catches any case, and the trailing dot of a full name', () => {
    for (const host of ['Orders.Example', 'orders.example.', '*.Example.'])
      expect(
        isAllowed(
          [policy('DENY', { to: [{ hosts: [host] }] })],
          request('/', undefined, { authority: 'orders.example' }),
        ),
      ).toBe(false);
  });

  it('[:path] sees the query, as in Envoy', () => {
    const allow = policy('ALLOW', { when: [{ key: 'request.headers[:path]', values: ['/a'] }] });
    expect(isAllowed([allow], request('/a'), {}, [':path', '/a?x'])).toBe(false);
    expect(isAllowed([allow], request('/a'), {}, [':path', '/a'])).toBe(true);
  });

  it('DENY catches escapes and semicolons where the router undoes them', () => {
    const deny = policy('DENY', { to: [{ paths: ['/a!b'] }] });
    expect(
      isAllowed([deny], request('/a%21b'), { equivalence: { ...exactRouter, decodesEscapes: true } }),
    ).toBe(false);
    expect(
      isAllowed([deny], request('/a!b;x'), { equivalence: { ...exactRouter, cutsAtSemicolon: true } }),
    ).toBe(false);
    expect(
      isAllowed([policy('DENY', { to: [{ paths: ['/a;b'] }] })], request('/a;b'), {
        equivalence: { ...exactRouter, cutsAtSemicolon: true },
      }),
    ).toBe(false);
  });

  it('looks at each line of a repeated header (CVE-2026-26308)', () => {
    const deny = policy('DENY', { when: [{ key: 'request.headers[X-Role]', values: ['admin'] }] });
    expect(isAllowed([deny], request('/'), {}, ['x-role', 'user', 'X-ROLE', 'admin'])).toBe(false);
    expect(isAllowed([deny], request('/'), {}, ['x-role', 'user'])).toBe(true);
  });

  it('never lets plaintext match a positive principal, and always a negative one', () => {
    const allow = policy('ALLOW', { from: [{ principals: ['*'] }] });
    expect(isAllowed([allow], request('/'))).toBe(false);
    expect(isAllowed([allow], request('/', 'spiffe://dev.local/ns/shop/sa/web'))).toBe(true);
    expect(isAllowed([policy('DENY', { from: [{ notPrincipals: ['*'] }] })], request('/'))).toBe(false);
  });

  it('takes policies of its own namespace and the root namespace, and no others', () => {
    const rule = { rules: [{ origin }] };
    expect(isAllowed([policy('DENY', {}, { ...rule, namespace: 'other' })], request('/'))).toBe(true);
    expect(isAllowed([policy('DENY', {}, { ...rule, namespace: 'istio-system' })], request('/'))).toBe(false);
    const set = compilePolicies([policy('DENY', {}, { ...rule, selector: { app: 'order' } })], workload);
    expect(set.warnings.join()).toContain(
      'selector app=order does not select this workload (labels app=orders)',
    );
  });

  it('says which ALLOW policies apply to nobody, where for want of one everybody is let in', () => {
    const rule = { rules: [{ origin }] };
    const missed = policy('ALLOW', {}, { ...rule, selector: { app: 'order' } });
    const open = compilePolicies([missed], workload);
    expect([open.hasAllow, open.warnings.join()]).toEqual([
      false,
      expect.stringContaining('ALLOW policy shop/p has no effect here: its selector app=order'),
    ]);
    for (const set of [
      compilePolicies([missed, policy('ALLOW', {}, rule)], workload),
      compilePolicies([missed], workload, { defaultAction: 'deny' }),
    ])
      expect(set.warnings).toEqual([]);
  });

  it.each([
    ['principals', { from: [{ principals: [] }] }],
    ['without "spiffe://", as a.test/ns/b/sa/c', { from: [{ principals: ['spiffe://a.test/ns/b/sa/c'] }] }],
    ['never there', { when: [{ key: 'request.headers[X-Forwarded-Client-Cert]', values: ['*'] }] }],
    ['"" must not be empty', { from: [{ principals: [''] }] }],
    ['is not an IP address', { from: [{ ipBlocks: ['010.1.1.1'] }] }],
    ['is not a port', { to: [{ ports: ['http'] }] }],
    ['operators are whole segments', { to: [{ paths: ['/{*}.txt'] }] }],
    ['is no key', { when: [{ key: 'source.user', values: ['x'] }] }],
    ['"source" is empty', { from: [{}] }],
    ['"to" is empty', { to: [] }],
  ] as const)('refuses a rule that cannot be evaluated: %s', (text, rule) => {
    expect(() => compilePolicies([policy('DENY', rule)], workload)).toThrow(text);
    expect(() => compilePolicies([policy('DENY', rule)], workload)).toThrow('test.yaml:7:3');
  });

  it('refuses pseudo-headers that HTTP/1.1 does not have', () => {
    expect(() =>
      compilePolicies(
        [policy('DENY', { when: [{ key: 'request.headers[:scheme]', values: ['http'] }] })],
        workload,
      ),
    ).toThrow(expect.objectContaining({ code: 'INMESH_ERR_POLICY_UNSUPPORTED' }));
  });

  it('refuses what it does not build', () => {
    expect(() =>
      compilePolicies(
        [policy('DENY', { when: [{ key: 'request.auth.claims[iss]', values: ['x'] }] })],
        workload,
      ),
    ).toThrow(expect.objectContaining({ code: 'INMESH_ERR_POLICY_UNSUPPORTED' }));
  });
});
