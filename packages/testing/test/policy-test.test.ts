import { describe, expect, it } from 'vitest';
import {
  assertAllowed,
  assertDenied,
  createPolicyTest,
  type MatcherResult,
  policyMatchers,
} from '../src/index.js';

const policies = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers}
spec:
  action: ALLOW
  rules:
  - from: [{source: {serviceAccounts: [shop/web]}}]
    to: [{operation: {methods: [GET]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [/admin*]}}]
`;
const { decide } = createPolicyTest({ policies, service: 'orders', namespace: 'shop' });

describe('policies without a server', () => {
  it('decide as a server does, and say by which rule', () => {
    expect(decide({ from: 'web' })).toMatchObject({
      isAllowed: true,
      policy: 'shop/callers',
      rule: 0,
      origin: { source: 'policies.yaml', line: 7 },
    });
    assertAllowed(decide({ from: 'shop/web', path: '/items?x=1' }), 'callers');
    assertDenied(decide({ from: 'web', method: 'POST' }));
    assertDenied(decide({ from: 'spiffe://dev.local/ns/other/sa/web' }));
    assertDenied(decide({ from: 'web', path: '/x/../admin/users' }), 'no-admin');
    assertDenied(decide());
  });

  it('say in one line what is not as expected', () => {
    expect(() => assertDenied(decide({ from: 'web' }))).toThrow(
      /^expected the request to be denied; it is allowed \(shop\/callers, rule 0 at policies\.yaml:7: /,
    );
    expect(() => assertDenied(decide({ from: 'web', method: 'POST' }), 'no-admin')).toThrow(
      /denied by no-admin/,
    );
    const { pass, message }: MatcherResult = policyMatchers.toBeAllowed(decide({ from: 'cart' }));
    expect([pass, message()]).toEqual([false, expect.stringContaining('it is denied')]);
  });

  it('refuse what is no policy, and requests that never get as far', () => {
    expect(() => createPolicyTest({ policies: 'kind: Policy' })).toThrow('apiVersion');
    expect(() => decide({ path: '/a%2fb' })).toThrow('answered with 400');
  });

  it('take objects, too', () => {
    const test = createPolicyTest({
      policies: [{ metadata: { name: 'none' }, spec: { action: 'DENY', rules: [{}] } }],
    });
    expect(test.decide().isAllowed).toBe(false);
  });
});
