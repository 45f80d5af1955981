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
  ])('DENY %s catches %s on a lenient router', (pattern, path) => {
    expect(
      isAllowed([policy('DENY', { to: [{ paths: [pattern] }] })], request(path), { equivalence: express }),
    ).toBe(false);
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

  it.each([
    ['principals', { from: [{ principals: [] }] }],
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

  it('refuses what it does not build', () => {
    expect(() =>
      compilePolicies(
        [policy('DENY', { when: [{ key: 'request.auth.claims[iss]', values: ['x'] }] })],
        workload,
      ),
    ).toThrow(expect.objectContaining({ code: 'INMESH_ERR_POLICY_UNSUPPORTED' }));
  });
});
