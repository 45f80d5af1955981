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
