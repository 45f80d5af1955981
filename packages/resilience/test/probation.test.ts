import type { OutlierRules } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import type { AttemptResult, ClusterState, EndpointState } from '../src/index.js';
import {
  createCluster,
  createState,
  endpoints,
  found,
  repeat,
  steadyOutlier,
  type TestCluster,
} from './support.js';

function create(count: number, outlier: Partial<OutlierRules> = {}, panicPercent = 0): TestCluster {
  const rules = { balancer: 'round-robin', outlier: { ...steadyOutlier, ...outlier }, panicPercent } as const;
  return createState(createCluster(endpoints(count), rules));
}

function report({ state, runtime }: TestCluster, at: EndpointState, results: readonly AttemptResult[]): void {
  for (const result of results) {
    state.onStart(at);
    state.onResult(at, result, undefined, runtime.now());
    state.onEnd(at);
  }
}

const first = ({ state }: TestCluster): EndpointState => found(state.endpoints[0]);

function picked(state: ClusterState, nowMs: number, times = 200): ReadonlySet<EndpointState | undefined> {
  return new Set(repeat(times, () => state.pick(nowMs)));
}

/** Moves time on, and lets the cluster notice. */
async function pass(cluster: TestCluster, ms: number): Promise<void> {
  await cluster.runtime.advance(ms);
  cluster.state.pick(cluster.runtime.now());
}

describe('an endpoint that comes back', () => {
  async function ejectAndWait(outlier: Partial<OutlierRules> = {}): Promise<TestCluster> {
    const cluster = create(2, outlier);
    report(
      cluster,
      first(cluster),
      repeat(5, () => 'error'),
    );
    await pass(cluster, 30_000);
    return cluster;
  }

  it('gets one call at a time until one succeeds', async () => {
    const cluster = await ejectAndWait();
    const nowMs = cluster.runtime.now();
    expect(picked(cluster.state, nowMs).has(first(cluster))).toBe(true);
    cluster.state.onStart(first(cluster));
    expect(picked(cluster.state, nowMs).has(first(cluster))).toBe(false);
    cluster.state.onResult(first(cluster), 'ok', 10, nowMs);
    expect(first(cluster).isOnProbation).toBe(false);
    expect(picked(cluster.state, nowMs).has(first(cluster))).toBe(true);
    expect(cluster.lines.at(-1)?.message).toBe('endpoint is back');
  });

  it('gets as many calls at once as the rules allow', async () => {
    const cluster = await ejectAndWait({ probes: 3 });
    const nowMs = cluster.runtime.now();
    for (let i = 0; i < 3; i++) {
      expect(picked(cluster.state, nowMs).has(first(cluster))).toBe(true);
      cluster.state.onStart(first(cluster));
    }
    expect(picked(cluster.state, nowMs).has(first(cluster))).toBe(false);
  });

  it('is out again after one failed probe', async () => {
    const cluster = await ejectAndWait();
    report(cluster, first(cluster), ['local-error']);
    expect([first(cluster).isEjected, first(cluster).isOnProbation]).toEqual([true, false]);
    expect(first(cluster).ejectedUntilMs).toBe(30_000 + 60_000);
    expect(cluster.lines.at(-1)?.fields['cause']).toBe('failed-probe');
  });

  it('stays on probation when its probe says nothing', async () => {
    const cluster = await ejectAndWait();
    report(cluster, first(cluster), ['unknown']);
    expect([first(cluster).isEjected, first(cluster).isOnProbation]).toEqual([false, true]);
  });

  it('begins with the latency and failures of a newcomer, and a share that grows', async () => {
    const cluster = create(2);
    cluster.state.onResult(first(cluster), 'ok', 3000, 0);
    report(
      cluster,
      first(cluster),
      repeat(5, () => 'error'),
    );
    await pass(cluster, 30_000);
    expect([first(cluster).costMs, first(cluster).errorsInRow]).toEqual([10, 0]);
    report(cluster, first(cluster), ['ok']);
    expect([first(cluster).rampFromMs, first(cluster).rampMs]).toEqual([30_000, 10_000]);
  });

  it('is used although busy when there is nobody else', async () => {
    const cluster = await ejectAndWait();
    cluster.state.onStart(first(cluster));
    const other = found(cluster.state.endpoints[1]);
    expect(cluster.state.pick(30_000, (one) => one !== other)).toBe(first(cluster));
  });
});

describe('rules that are taken away', () => {
  it('let everybody back in, without probation', async () => {
    const cluster = create(2);
    const { cluster: before } = cluster.state;
    report(
      cluster,
      first(cluster),
      repeat(5, () => 'error'),
    );
    cluster.state.configure({ ...before, rules: { ...before.rules, outlier: undefined } });
    expect([cluster.state.ejected, picked(cluster.state, 1).size]).toEqual([0, 2]);
    cluster.state.configure(before);
    report(
      cluster,
      first(cluster),
      repeat(5, () => 'error'),
    );
    await pass(cluster, 60_000);
    expect(first(cluster).isOnProbation).toBe(true);
    cluster.state.configure({ ...before, rules: { ...before.rules, outlier: undefined } });
    cluster.state.onStart(first(cluster));
    expect(picked(cluster.state, 60_001).has(first(cluster))).toBe(true);
  });
});

describe('ejection by percentage', () => {
  function fail(cluster: TestCluster, at: EndpointState, failures: number, calls = 100): void {
    report(
      cluster,
      at,
      repeat(calls, (i) => (i < failures ? 'error' : 'ok')),
    );
  }
  const percentage = { consecutive5xx: 0, consecutiveGatewayErrors: 0, consecutiveLocalErrors: 0 };

  it('takes out at the end of an interval what failed too often', async () => {
    const cluster = create(6, percentage);
    for (const [i, one] of cluster.state.endpoints.entries())
      fail(cluster, one, [85, 84, 10, 0, 0, 0][i] ?? 0);
    expect(cluster.state.ejected).toBe(0);
    await pass(cluster, 10_000);
    expect(cluster.state.endpoints.map((one) => one.isEjected)).toEqual([
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
    expect(cluster.lines[0]?.fields['cause']).toBe('failure-percentage');
  });

  it('needs enough calls, enough endpoints, and a share above 0', async () => {
    const quiet = create(6, percentage);
    for (const one of quiet.state.endpoints) fail(quiet, one, 49, 49);
    const few = create(4, percentage);
    for (const one of few.state.endpoints) fail(few, one, 100);
    const off = create(6, { ...percentage, failurePercent: 0 });
    for (const one of off.state.endpoints) fail(off, one, 100);
    for (const cluster of [quiet, few, off]) {
      await pass(cluster, 10_000);
      expect(cluster.state.ejected).toBe(0);
    }
  });

  it('counts each interval for itself', async () => {
    const cluster = create(6, percentage);
    for (const one of cluster.state.endpoints) fail(cluster, one, 30, 30);
    await pass(cluster, 10_000);
    for (const one of cluster.state.endpoints) fail(cluster, one, 30, 30);
    await pass(cluster, 10_000);
    expect(cluster.state.ejected).toBe(0);
  });

  it('never takes out more than the share', async () => {
    const cluster = create(6, percentage);
    for (const one of cluster.state.endpoints) fail(cluster, one, 100);
    await pass(cluster, 10_000);
    expect(cluster.state.ejected).toBe(3);
  });
});

describe('panic', () => {
  it('uses ejected endpoints too when fewer than the threshold are left', () => {
    const cluster = create(4, { maxEjectionPercent: 100 }, 50);
    for (const one of cluster.state.endpoints.slice(0, 3))
      report(
        cluster,
        one,
        repeat(5, () => 'error'),
      );
    expect(picked(cluster.state, 1).size).toBe(4);
  });

  it('finds nothing when all are out and panic is off', () => {
    const cluster = create(4, { maxEjectionPercent: 100 });
    for (const one of cluster.state.endpoints)
      report(
        cluster,
        one,
        repeat(5, () => 'error'),
      );
    expect(cluster.state.pick(1)).toBeUndefined();
  });
});
