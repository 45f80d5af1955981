import type { OutlierRules } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import { noEjections } from '../src/ejection.js';
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

describe('ejection by failures in a row', () => {
  it.each<[string, readonly AttemptResult[]]>([
    ['consecutive-5xx', repeat(5, () => 'error' as const)],
    ['consecutive-gateway-failure', repeat(3, () => 'gateway-error' as const)],
    ['consecutive-local-origin-failure', repeat(4, () => 'local-error' as const)],
  ])('names %s as the cause', (cause, results) => {
    const cluster = create(3, { consecutiveGatewayErrors: 3, consecutiveLocalErrors: 4 });
    report(cluster, first(cluster), results.slice(1));
    expect(cluster.state.ejected).toBe(0);
    report(cluster, first(cluster), results.slice(0, 1));
    expect([cluster.state.ejected, first(cluster).isEjected, cluster.state.stats.ejections]).toEqual([
      1,
      true,
      1,
    ]);
    expect(cluster.state.ejectionCounts).toEqual({ ...noEjections, [cause]: 1 });
    expect(cluster.lines).toEqual([
      {
        fields: { cluster: 'orders', endpoint: '10.0.0.1:1', cause, ms: 30_000 },
        message: 'endpoint ejected',
      },
    ]);
    expect(picked(cluster.state, 1).has(first(cluster))).toBe(false);
  });

  it.each<[string, readonly AttemptResult[]]>([
    ['a good reply', ['error', 'error', 'error', 'error', 'ok', 'error', 'error', 'error', 'error']],
    [
      'a break among 5xx of local failures',
      ['local-error', 'local-error', 'local-error', 'local-error', 'error'],
    ],
    ['what says nothing', ['unknown', 'unknown', 'unknown', 'unknown', 'unknown', 'unknown']],
    ['a 500 among gateway failures', ['gateway-error', 'gateway-error', 'error', 'gateway-error']],
  ])('counts anew after %s', (_what, results) => {
    const cluster = create(3, { consecutiveGatewayErrors: 3 });
    report(cluster, first(cluster), results);
    expect(cluster.state.ejected).toBe(0);
  });

  it('is off for a limit of 0, and altogether without rules', () => {
    const off = create(3, { consecutive5xx: 0, consecutiveGatewayErrors: 0, consecutiveLocalErrors: 0 });
    report(
      off,
      first(off),
      repeat(50, (i) => (i % 2 === 0 ? 'gateway-error' : 'local-error')),
    );
    const none = createState(createCluster(endpoints(3), { outlier: undefined }));
    report(
      none,
      first(none),
      repeat(50, () => 'error'),
    );
    expect([off.state.ejected, none.state.ejected]).toEqual([0, 0]);
  });

  it('takes attempts on endpoints that are gone for nothing', () => {
    const cluster = create(3);
    first(cluster).isGone = true;
    report(
      cluster,
      first(cluster),
      repeat(5, () => 'error'),
    );
    expect(cluster.state.ejected).toBe(0);
  });
});

describe('how many may be out', () => {
  it.each([
    { total: 1, percent: 100, always: true, out: 0 },
    { total: 2, percent: 0, always: true, out: 1 },
    { total: 2, percent: 50, always: false, out: 1 },
    { total: 3, percent: 50, always: false, out: 1 },
    { total: 4, percent: 50, always: true, out: 2 },
    { total: 9, percent: 10, always: false, out: 0 },
    { total: 9, percent: 10, always: true, out: 1 },
    { total: 10, percent: 10, always: false, out: 1 },
    { total: 10, percent: 100, always: false, out: 10 },
  ])('of $total at $percent % (one always: $always) is $out', ({ total, percent, always, out }) => {
    const cluster = create(total, { maxEjectionPercent: percent, alwaysEjectOne: always });
    for (const one of cluster.state.endpoints)
      report(
        cluster,
        one,
        repeat(5, () => 'error'),
      );
    expect(cluster.state.ejected).toBe(out);
  });
});

describe('how long it lasts', () => {
  it('is 30, 60, 90 … 300 s for one ejection after another', async () => {
    const cluster = create(2, { intervalMs: 3_600_000 });
    const lengths: number[] = [];
    for (let i = 0; i < 12; i++) {
      const nowMs = cluster.runtime.now();
      report(
        cluster,
        first(cluster),
        repeat(5, () => 'error'),
      );
      lengths.push((first(cluster).ejectedUntilMs - nowMs) / 1000);
      await pass(cluster, first(cluster).ejectedUntilMs - nowMs);
      expect([first(cluster).isEjected, first(cluster).isOnProbation]).toEqual([false, true]);
    }
    expect(lengths).toEqual([30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
  });

  it('becomes shorter with each interval without an ejection', async () => {
    const cluster = create(2);
    const eject = (): number => {
      report(
        cluster,
        first(cluster),
        repeat(5, () => 'error'),
      );
      return (first(cluster).ejectedUntilMs - cluster.runtime.now()) / 1000;
    };
    expect(eject()).toBe(30);
    await pass(cluster, 30_000);
    expect(eject()).toBe(60);
    await pass(cluster, 60_000);
    report(cluster, first(cluster), ['ok']);
    await pass(cluster, 10_000);
    expect(first(cluster).ejections).toBe(1);
    expect(eject()).toBe(60);
    await pass(cluster, 60_000);
    report(cluster, first(cluster), ['ok']);
    await pass(cluster, 300_000);
    expect([first(cluster).ejections, eject()]).toEqual([0, 30]);
  });

  it('becomes shorter at once after many of the longest', async () => {
    const cluster = create(2, { baseEjectionMs: 10_000, maxEjectionMs: 30_000 });
    for (let i = 0; i < 20; i++) {
      report(
        cluster,
        first(cluster),
        repeat(5, () => 'error'),
      );
      await pass(cluster, first(cluster).ejectedUntilMs - cluster.runtime.now());
    }
    report(cluster, first(cluster), ['ok']);
    await pass(cluster, 10_000);
    report(
      cluster,
      first(cluster),
      repeat(5, () => 'error'),
    );
    expect(first(cluster).ejectedUntilMs - cluster.runtime.now()).toBe(30_000);
    await pass(cluster, 30_000);
    report(cluster, first(cluster), ['ok']);
    await pass(cluster, 20_000);
    report(
      cluster,
      first(cluster),
      repeat(5, () => 'error'),
    );
    expect(first(cluster).ejectedUntilMs - cluster.runtime.now()).toBe(20_000);
  });

  it('has jitter on top, at most the share', () => {
    const lengths = repeat(20, (seed) => {
      const cluster = createState(
        createCluster(endpoints(2), { outlier: { ...steadyOutlier, jitterRatio: 0.1 } }),
        { seed: seed + 1 },
      );
      report(
        cluster,
        first(cluster),
        repeat(5, () => 'error'),
      );
      return first(cluster).ejectedUntilMs;
    });
    for (const ms of lengths) expect(ms >= 30_000 && ms <= 33_000).toBe(true);
    expect(new Set(lengths).size).toBeGreaterThan(10);
  });
});
