import {
  type AuthorizationPolicy,
  type Call,
  FlatHeaders,
  type LogFields,
  type Logger,
  type PolicyRule,
  parseSpiffeId,
  silentLogger,
  type Workload,
} from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import { authorize, compilePolicies, type PolicySet, type PolicySetOptions } from '../src/index.js';

const origin = { source: 'test.yaml', line: 7, column: 3 };
const workload: Workload = { service: 'orders', namespace: 'shop', trustDomain: 'dev.local', labels: {} };
const policy = (
  name: string,
  action: AuthorizationPolicy['action'],
  rules: readonly Omit<PolicyRule, 'origin'>[],
): AuthorizationPolicy => ({
  name,
  namespace: 'shop',
  action,
  selector: {},
  rules: rules.map((rule) => ({ ...rule, origin })),
  origin,
});
const call = {
  facts: {
    method: 'GET',
    path: '/a',
    authority: 'orders',
    connection: {
      peer: {
        id: parseSpiffeId('spiffe://dev.local/ns/shop/sa/mallory'),
        notAfterMs: 0,
        fingerprint: '',
        serial: '',
        trustEpoch: 0,
      },
      isEncrypted: true,
      remoteIp: '10.0.0.9',
      remotePort: 1,
      localIp: '10.0.0.1',
      localPort: 8443,
      sni: '',
    },
  },
  headers: new FlatHeaders([]),
} as unknown as Call;

function denialOf(
  policies: readonly AuthorizationPolicy[] | undefined,
  options: PolicySetOptions = {},
): LogFields | undefined {
  let logged: LogFields | undefined;
  const logger: Logger = {
    ...silentLogger,
    warn(fields, message) {
      if (message === 'denied') logged = fields;
    },
  };
  const set: PolicySet | undefined = policies && compilePolicies(policies, workload, options);
  const phases = authorize({ policies: () => set, logger }).bind({ side: 'server' });
  const verdict = phases?.request?.(call);
  expect(verdict === undefined).toBe(logged === undefined);
  // Fields that say nothing are not written.
  return logged && Object.fromEntries(Object.entries(logged).filter(([, value]) => value !== undefined));
}

const allowAlice = (name: string): AuthorizationPolicy =>
  policy(name, 'ALLOW', [{ from: [{ principals: ['dev.local/ns/shop/sa/alice'] }] }]);

describe('a denial in the log', () => {
  it('names the policy, the rule and its place, where one denied', () => {
    expect(
      denialOf([policy('no', 'DENY', [{ to: [{ paths: ['/b'] }] }, { to: [{ paths: ['/a'] }] }])]),
    ).toEqual({
      policy: 'shop/no',
      rule: 1,
      file: 'test.yaml',
      line: 7,
      reason: 'DENY policy shop/no, rule 1',
      peer: 'spiffe://dev.local/ns/shop/sa/mallory',
      remoteIp: '10.0.0.9',
      method: 'GET',
      path: '/a',
    });
  });

  it('names the ALLOW policies that apply, where none matches', () => {
    const others = [policy('no', 'DENY', [{ to: [{ paths: ['/b'] }] }])];
    expect(denialOf([allowAlice('callers'), ...others, allowAlice('more')])).toEqual({
      reason: 'no ALLOW policy matches',
      allowPolicies: ['shop/callers', 'shop/more'],
      peer: 'spiffe://dev.local/ns/shop/sa/mallory',
      remoteIp: '10.0.0.9',
      method: 'GET',
      path: '/a',
    });
  });

  it('names at most 10 of them, and how many more there are', () => {
    const many = Array.from({ length: 25 }, (_, i) => allowAlice(`p${i}`));
    expect(denialOf(many)?.['allowPolicies']).toEqual([
      ...many.slice(0, 10).map(({ name }) => `shop/${name}`),
      'and 15 more',
    ]);
  });

  it('says so where no ALLOW policy applies, and where there is no set', () => {
    expect(denialOf([], { defaultAction: 'deny' })).toMatchObject({
      reason: 'no ALLOW policy applies; the default is deny',
    });
    expect(denialOf(undefined)).toMatchObject({ reason: 'no policy set is in force' });
    expect(denialOf([])).toBeUndefined();
  });
});

describe('decisions', () => {
  it('are told once for each call, and again where a change of policies denies it', () => {
    let set = compilePolicies([], workload);
    const told: boolean[] = [];
    const phases = authorize({
      policies: () => set,
      logger: silentLogger,
      onDecision: (_call, { isAllowed }) => void told.push(isAllowed),
    }).bind({ side: 'server' });
    void phases?.request?.(call);
    phases?.recheck?.(call);
    phases?.recheck?.(call);
    expect(told).toEqual([true]);
    set = compilePolicies([allowAlice('callers')], workload);
    expect(phases?.recheck?.(call)).toMatchObject({ kind: 'reject' });
    expect(told).toEqual([true, false]);
  });
});
