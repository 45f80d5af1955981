import { Metadata } from '@grpc/grpc-js';
import { type Cluster, type RetryRules, type RouteRules, silentLogger, WatchSource } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import {
  ClusterState,
  defaultClusterRules,
  defaultRetryRules,
  defaultRouteRules,
  routePolicy,
} from '@inmesh/resilience';
import { describe, expect, it } from 'vitest';
import { idempotentPaths } from '../src/idempotent-methods.js';
import { methodConfigOf } from '../src/method-config.js';
import { type AttemptStatus, judge } from '../src/outcome.js';
import { ReplyHeaders } from '../src/reply-headers.js';
import { type Failure, pushbackHeader, RetryGate } from '../src/retry-gate.js';

const policyOf = (changed: Partial<RetryRules> = {}) =>
  routePolicy({ ...defaultRouteRules, retry: { ...defaultRetryRules, ...changed } });

function cluster(tokens = 10): ClusterState {
  const config: Cluster = {
    name: 'orders',
    identities: [],
    endpoints: new WatchSource(),
    rules: { ...defaultClusterRules, retryBudget: { capacity: tokens, perSuccess: 0.1 } },
    routeRules: defaultRouteRules,
  };
  return new ClusterState(config, { runtime: createManualRuntime(), logger: silentLogger });
}

const failure = (changed: Partial<Failure> = {}, pushback?: string): Failure => {
  const metadata = new Metadata();
  if (pushback !== undefined) metadata.set(pushbackHeader, pushback);
  return {
    metadata,
    isRefused: false,
    isRetryable: true,
    nowMs: 0,
    endMs: Number.POSITIVE_INFINITY,
    ...changed,
  };
};
const isStopped = ({ metadata }: Failure): boolean => metadata.get(pushbackHeader)[0] === '-1';

const silent = { onThrown() {} };

describe('RetryGate', () => {
  it('lets through what the attempts and the budget allow, and gives back what it holds', () => {
    const state = cluster(1);
    const gate = new RetryGate(state, policyOf(), 3);
    const [first, second] = [failure(), failure()];
    gate.onFailure(first);
    expect([isStopped(first), state.activeRetries]).toEqual([false, 1]);
    gate.onFailure(second);
    expect([isStopped(second), state.activeRetries, gate.isExhausted]).toEqual([true, 0, true]);
    expect(gate.isRetryLimitReached).toBe(false);
    gate.close(second.metadata);
    expect(second.metadata.get(pushbackHeader)).toEqual([]);
  });

  it('stops after the last attempt', () => {
    const gate = new RetryGate(cluster(), policyOf(), 2);
    const [first, second] = [failure(), failure()];
    gate.onFailure(first);
    gate.onFailure(second);
    expect([isStopped(first), isStopped(second), gate.isExhausted]).toEqual([false, true, true]);
    expect(gate.isRetryLimitReached).toBe(true);
  });

  it.each([
    ['what the route does not want', failure({ isRetryable: false }), true, false],
    ['what cannot end in time', failure({ nowMs: 100, endMs: 100 }), true, false],
    ['a pushback longer than allowed', failure({}, '300001'), true, false],
    ['a pushback longer than what is left', failure({ endMs: 500 }, '500'), true, false],
    ['a pushback that fits', failure({ endMs: 500 }, '499'), false, false],
    ['a wish to stop', failure({}, '-1'), true, true],
    ['a wish that cannot be read', failure({}, '1e3'), true, true],
  ])('decides about %s', (_name, given, stops, isExhausted) => {
    const gate = new RetryGate(cluster(), policyOf(), 3);
    gate.onFailure(given);
    expect([isStopped(given), gate.isExhausted]).toEqual([stops, isExhausted]);
  });

  it('tells grpc-js the waits of a function, and takes its word back where the attempt is the last after all', () => {
    const waits: number[] = [];
    const backoff = (retry: number): number => {
      waits.push(retry);
      if (retry === 3) throw new Error('none');
      return retry === 1 ? 20.5 : 1e12;
    };
    const gate = new RetryGate(cluster(), policyOf({ backoff, maxAttempts: 5 }), 5);
    const [first, second, third] = [failure({ endMs: 1000 }), failure({}, '40'), failure()];
    for (const one of [first, second, third]) gate.onFailure(one);
    const said = [first, second, third].map(({ metadata }) => Number(metadata.get(pushbackHeader)[0]));
    expect(waits).toEqual([1, 2, 3]);
    expect(said.slice(0, 2)).toEqual([21, 2_147_483_647]);
    expect(said[2]).toBeLessThanOrEqual(25);
    gate.close(third.metadata);
    expect(third.metadata.get(pushbackHeader)).toEqual([]);
    const late = failure({ endMs: 1000 });
    new RetryGate(cluster(), policyOf({ backoff: () => 1000 }), 5).onFailure(late);
    expect(isStopped(late)).toBe(true);
  });

  it('takes no token for the first refusal, which grpc-js repeats by itself', () => {
    const state = cluster();
    const gate = new RetryGate(state, policyOf(), 3);
    gate.onFailure(failure({ isRefused: true }));
    expect(state.stats.retries).toBe(0);
    gate.onFailure(failure({ isRefused: true }));
    expect(state.stats.retries).toBe(1);
  });

  it('gives back the token of a retry that its call did not wait for, and no other', () => {
    const state = cluster(2);
    const [waits, made] = [new RetryGate(state, policyOf(), 3), new RetryGate(state, policyOf(), 3)];
    waits.onFailure(failure());
    made.onFailure(failure());
    made.onStart();
    expect([state.budget.tokens, state.stats.retries]).toEqual([0, 2]);
    waits.close(new Metadata());
    made.close(new Metadata());
    expect([state.budget.tokens, state.stats.retries, state.activeRetries]).toEqual([1, 1, 0]);
  });

  it('counts a retry at its pick where no attempt came by', () => {
    const state = cluster(1);
    const gate = new RetryGate(state, policyOf(), 3);
    const pick = (number: string): boolean => {
      const metadata = new Metadata();
      metadata.set('grpc-previous-rpc-attempts', number);
      return gate.onPick(metadata);
    };
    expect([pick('1'), pick('1'), pick('2')]).toEqual([true, true, false]);
    gate.close(new Metadata());
    expect(state.activeRetries).toBe(0);
  });
});

describe('methodConfigOf', () => {
  it('tells grpc-js of retries only for what may be repeated, and of a total', () => {
    const policy = routePolicy({
      ...defaultRouteRules,
      timeoutMs: 1500,
      retry: { ...defaultRetryRules, maxAttempts: 9, perTryTimeoutMs: 100 },
    });
    expect(methodConfigOf(policy, 'nothing')).toEqual({
      name: [],
      timeout: { seconds: 1, nanos: 500_000_000 },
    });
    const { retryPolicy } = methodConfigOf(policy, 'anything');
    expect(retryPolicy).toMatchObject({
      maxAttempts: 5,
      initialBackoff: '0.025000000s',
      maxBackoff: '0.250000000s',
      backoffMultiplier: 2,
    });
    expect(retryPolicy?.retryableStatusCodes.toSorted()).toEqual([1, 13, 14, 4, 7, 8]);
    const refused = methodConfigOf(policy, 'refused').retryPolicy;
    expect(refused?.retryableStatusCodes).toEqual([14]);
    expect(methodConfigOf(policy, 'anything')).toBe(methodConfigOf(policy, 'anything'));
  });

  it('has no policy where one attempt is all, or nothing is retried', () => {
    expect(methodConfigOf(policyOf({ maxAttempts: 1 }), 'anything').retryPolicy).toBeUndefined();
    expect(methodConfigOf(policyOf({ conditions: [] }), 'anything').retryPolicy).toBeUndefined();
  });
});

describe('judge', () => {
  const ofPeer = new Metadata();
  ofPeer.set('content-type', 'application/grpc');
  const status = (code: number, changed: Partial<AttemptStatus> = {}): AttemptStatus => ({
    code,
    details: '',
    metadata: new Metadata(),
    ...changed,
  });

  it.each([
    [status(0), 'ok', false, false],
    [status(1), 'unknown', false, true],
    [status(2), 'error', true, false],
    [status(4), 'gateway-error', true, false],
    [status(5), 'ok', false, false],
    [status(8), 'unknown', true, false],
    [status(12), 'ok', false, false],
    [status(13), 'error', true, false],
    [status(14), 'gateway-error', true, true],
    [status(15), 'error', true, false],
    [status(14, { details: 'Connection dropped' }), 'local-error', true, true],
    [status(13, { rstCode: 2 }), 'local-error', true, true],
    [status(14, { rstCode: 7 }), 'unknown', false, true],
    [status(8, { rstCode: 11 }), 'unknown', false, false],
    [status(7, { rstCode: 12 }), 'local-error', true, true],
    [status(14, { details: 'Connection dropped', metadata: ofPeer }), 'gateway-error', true, true],
    [status(13, { details: 'Connection dropped', metadata: ofPeer }), 'error', true, false],
    [status(13, { details: 'Write error: EPIPE', metadata: ofPeer }), 'error', true, false],
    [status(99), 'error', true, false],
  ])('%o', (given, result, isPenalized, isRetryable) => {
    expect(judge(policyOf(), given, false, silent)).toEqual({
      result,
      isPenalized,
      isRetryable,
      isClassified: false,
    });
  });

  it('takes ENHANCE_YOUR_CALM that ended a connection for a fault of the endpoint', () => {
    expect(judge(policyOf(), status(8, { rstCode: 11 }), false, silent, false)).toMatchObject({
      result: 'local-error',
      isRetryable: true,
    });
  });

  it('takes our own timeout of an attempt for a fault of the endpoint', () => {
    expect(judge(policyOf(), status(4), true, silent)).toEqual({
      result: 'local-error',
      isPenalized: true,
      isRetryable: true,
      isClassified: false,
    });
    expect(judge(policyOf({ conditions: ['unavailable'] }), status(4), true, silent).isRetryable).toBe(false);
  });
});

describe('a classifier of the user', () => {
  const thrown: unknown[] = [];
  const judged = (classify: NonNullable<RouteRules['classify']>, code: number) =>
    judge(
      routePolicy({ ...defaultRouteRules, retry: defaultRetryRules, classify }),
      { code, details: '', metadata: new Metadata() },
      false,
      { onThrown: (what, error) => thrown.push([what, error]) },
    );

  it('is told of, and not believed, when it throws', () => {
    const bug = new Error('bug');
    const classify = () => {
      throw bug;
    };
    expect(judged(classify, 14)).toEqual({
      result: 'gateway-error',
      isPenalized: true,
      isRetryable: true,
      isClassified: false,
    });
    expect(judged(classify, 0)).toEqual({
      result: 'ok',
      isPenalized: false,
      isRetryable: false,
      isClassified: false,
    });
    expect(thrown).toEqual([
      ['classifier', bug],
      ['classifier', bug],
    ]);
  });

  it('cannot have a status repeated that grpc-js does not know', () => {
    expect([0, 16, 99].map((code) => judged(() => 'retryable', code).isRetryable)).toEqual([
      false,
      true,
      false,
    ]);
  });
});

describe('idempotentPaths', () => {
  it('takes paths and methods that are declared', () => {
    const service = {
      A: { path: '/s.S/A', options: { idempotency_level: 'IDEMPOTENT' } },
      B: { path: '/s.S/B', options: {} },
      C: { path: '/s.S/C' },
    } as never;
    expect([...idempotentPaths(['/x.X/Y', service])]).toEqual(['/x.X/Y', '/s.S/A']);
  });
});

describe('ReplyHeaders', () => {
  it('reads and writes the record that is sent', () => {
    const record = { ':status': 200, 'x-many': ['a', 'b'], 'x-one': '1' };
    const headers = new ReplyHeaders(record);
    headers.append('X-One', '2');
    headers.append('x-new', 'n');
    headers.set(':status', '201');
    headers.delete('x-many');
    const seen: string[] = [];
    headers.forEach((name, value) => seen.push(`${name}=${value}`));
    expect(seen).toEqual([':status=201', 'x-one=1', 'x-one=2', 'x-new=n']);
    expect([headers.get('X-NEW'), headers.all('x-one'), headers.has('x-many')]).toEqual([
      'n',
      ['1', '2'],
      false,
    ]);
    expect(record[':status']).toBe(201);
  });
});
