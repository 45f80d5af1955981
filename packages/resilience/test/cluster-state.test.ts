import type { Endpoint } from '@inmesh/core';
import { WatchSource } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import { describe, expect, it } from 'vitest';
import { type ClusterParts, Clusters, type EndpointState, endpointKey, roundRobin } from '../src/index.js';
import {
  countBy,
  createCluster,
  createLog,
  createState,
  endpoint,
  endpoints,
  found,
  repeat,
  type TestCluster,
  watchOf,
} from './support.js';

const keys = ({ state }: TestCluster): readonly string[] => state.endpoints.map((one) => one.key);

function sharesOf({ state }: TestCluster, nowMs: number, picks = 20_000): ReadonlyMap<string, number> {
  const counts = countBy(repeat(picks, () => found(state.pick(nowMs)).key));
  return new Map([...counts].map(([key, count]) => [key, count / picks]));
}

function shareOfPorts({ state }: TestCluster, isOne: (port: number) => boolean, picks = 20_000): number {
  return repeat(picks, () => found(state.pick(0)).endpoint.port).filter(isOne).length / picks;
}

describe('an endpoint that fails', () => {
  it('is left alone while another is well, where no more may be ejected', () => {
    const cluster = createState(createCluster(endpoints(3)));
    const { state } = cluster;
    const [ejected, wellAgain, failing] = state.endpoints;
    for (let i = 0; i < 5; i++) state.onResult(found(ejected), 'gateway-error', 5000, 0);
    for (let i = 0; i < 4; i++) state.onResult(found(wellAgain), 'local-error', 5000, 0);
    state.onResult(found(wellAgain), 'ok', 1, 100);
    for (let i = 0; i < 9; i++) state.onResult(found(failing), 'gateway-error', 5000, 200);
    found(wellAgain).active = 12;
    expect(state.endpoints.map((one) => one.isEjected)).toEqual([true, false, false]);
    expect(sharesOf(cluster, 300)).toEqual(new Map([['10.0.0.1:2', 1]]));
    state.onResult(found(failing), 'ok', 1, 400);
    expect([...sharesOf(cluster, 500).keys()]).toContain('10.0.0.1:3');
  });
});

describe('the endpoints of a cluster', () => {
  it('keep what is known of them while they are configured', () => {
    const source = watchOf(endpoints(3));
    const cluster = createState(createCluster(source));
    const [, second] = cluster.state.endpoints;
    found(second).costMs = 77;
    source.set([endpoint(2, { weight: 5 }), endpoint(4)]);
    expect(keys(cluster)).toEqual(['10.0.0.1:2', '10.0.0.1:4']);
    expect(cluster.state.endpoints[0]).toBe(second);
    expect([second?.costMs, second?.weight]).toEqual([77, 5]);
  });

  it('are picked no more when they are gone, and come back as newcomers', () => {
    const source = watchOf(endpoints(2));
    const cluster = createState(createCluster(source));
    const first = found(cluster.state.endpoints[0]);
    first.costMs = 77;
    cluster.state.onStart(first);
    source.set([endpoint(2)]);
    expect([first.isGone, [...sharesOf(cluster, 0, 50).keys()]]).toEqual([true, ['10.0.0.1:2']]);
    cluster.state.onResult(first, 'error', undefined, 0);
    cluster.state.onEnd(first);
    expect([first.active, first.failures]).toEqual([0, 0]);
    source.set(endpoints(2));
    expect(cluster.state.endpoints[0]).not.toBe(first);
    expect(cluster.state.endpoints[0]?.costMs).toBe(10);
  });

  it('stay when discovery fails or withdraws them', () => {
    const source = new WatchSource<readonly Endpoint[]>();
    const cluster = createState(createCluster(source));
    expect(cluster.state.pick(0)).toBeUndefined();
    source.set(endpoints(2));
    source.fail(new Error('dns'));
    expect(keys(cluster)).toHaveLength(2);
  });

  it('are one for each address, with brackets around IPv6', () => {
    const cluster = createState(
      createCluster([endpoint(1), endpoint(1), { host: '::1', port: 1 }, { host: 'a', port: 1 }]),
    );
    expect(keys(cluster)).toEqual(['10.0.0.1:1', '[::1]:1', 'a:1']);
    expect(endpointKey({ host: 'fe80::2', port: 80 })).toBe('[fe80::2]:80');
  });

  it('are told about when they change, until nobody listens', () => {
    const source = watchOf(endpoints(1));
    const cluster = createState(createCluster(source));
    let told = 0;
    const stop = cluster.state.onChange(() => told++);
    source.set(endpoints(2));
    stop();
    source.set(endpoints(3));
    expect(told).toBe(1);
    cluster.state.close();
    source.set(endpoints(4));
    expect(keys(cluster)).toHaveLength(3);
  });
});

describe('configure', () => {
  it('puts other rules in force and keeps endpoints, counts and the budget', () => {
    const source = watchOf(endpoints(2));
    const before = createCluster(source);
    const { state } = createState(before);
    const [first] = state.endpoints;
    state.budget.tryWithdraw();
    state.activeCalls = 3;
    state.configure({
      ...before,
      rules: { ...before.rules, balancer: 'round-robin', retryBudget: { capacity: 20, perSuccess: 0.5 } },
    });
    expect([state.endpoints[0], state.budget.tokens, state.activeCalls]).toEqual([first, 9, 3]);
    const [a, b, c] = repeat(3, () => state.pick(0));
    expect([a === b, a === c]).toEqual([false, true]);
  });

  it('follows another source of endpoints, and the old one no more', () => {
    const old = watchOf(endpoints(2));
    const before = createCluster(old);
    const cluster = createState(before);
    const [first] = cluster.state.endpoints;
    const next = watchOf(endpoints(1));
    cluster.state.configure({ ...before, endpoints: next });
    old.set(endpoints(9));
    expect([keys(cluster).length, cluster.state.endpoints[0]]).toEqual([1, first]);
    next.set(endpoints(4));
    expect(keys(cluster)).toHaveLength(4);
  });
});

describe('picks', () => {
  it('spread over priorities by health', () => {
    const list = [...endpoints(4), ...repeat(4, (i) => endpoint(10 + i, { priority: 1 }))];
    const cluster = createState(createCluster(list, { balancer: 'random', panicPercent: 0 }));
    expect(shareOfPorts(cluster, (port) => port >= 10)).toBe(0);
    const { state } = cluster;
    for (const one of state.endpoints.slice(0, 2))
      for (let i = 0; i < 5; i++) state.onResult(one, 'error', undefined, 0);
    // The first level keeps its health times 1.4.
    expect(Math.abs(shareOfPorts(cluster, (port) => port >= 10) - 0.3)).toBeLessThan(0.015);
  });

  it('go to near endpoints first, and to others as those fail', () => {
    const list = [
      endpoint(1, { locality: 'eu/a/1' }),
      endpoint(2, { locality: 'eu/b/1' }),
      endpoint(3, { locality: 'us/a/1' }),
    ];
    const cluster = createState(createCluster(list), { locality: 'eu/a/1' });
    expect([...sharesOf(cluster, 0, 100).keys()]).toEqual(['10.0.0.1:1']);
    for (let i = 0; i < 5; i++)
      cluster.state.onResult(found(cluster.state.endpoints[0]), 'local-error', undefined, 0);
    expect([...sharesOf(cluster, 0, 100).keys()]).toEqual(['10.0.0.1:2']);
    const off = createState(createCluster(list, { localityFailover: false }), { locality: 'eu/a/1' });
    expect(sharesOf(off, 0, 1000).size).toBe(3);
  });

  it('spread over localities by weight and health', () => {
    const list = [
      ...repeat(4, (i) => endpoint(10 + i, { locality: 'x' })),
      ...repeat(4, (i) => endpoint(20 + i, { locality: 'y' })),
    ];
    const cluster = createState(
      createCluster(list, { balancer: 'random', localityWeights: { x: 1, y: 2 }, panicPercent: 0 }),
    );
    const shareOfX = (): number => shareOfPorts(cluster, (port) => port < 20);
    expect(shareOfX()).toBeCloseTo(1 / 3, 1);
    for (const one of cluster.state.endpoints.slice(0, 2))
      for (let i = 0; i < 5; i++) cluster.state.onResult(one, 'error', undefined, 0);
    expect(Math.abs(shareOfX() - 0.26)).toBeLessThan(0.015);
  });

  it('give nothing to a weight of 0 as long as there is another', () => {
    const cluster = createState(createCluster([endpoint(1, { weight: 0 }), endpoint(2)]));
    expect([...sharesOf(cluster, 0, 500).keys()]).toEqual(['10.0.0.1:2']);
    const all = createState(createCluster(endpoints(2, { weight: 0 })));
    expect(sharesOf(all, 0, 500).size).toBe(2);
  });

  it('let a newcomer start slowly', () => {
    const source = watchOf(endpoints(1));
    const slowStart = { windowMs: 10_000, aggression: 1, minWeightPercent: 10 };
    const cluster = createState(
      createCluster(source, { balancer: 'round-robin', slowStart, outlier: undefined }),
    );
    source.set(endpoints(2));
    const shareAt = (nowMs: number): number => sharesOf(cluster, nowMs).get('10.0.0.1:2') ?? 0;
    // A weight of w beside 1 gets w / (1 + w).
    expect(shareAt(0)).toBeCloseTo(0.1 / 1.1, 2);
    expect(shareAt(5000)).toBeCloseTo(0.5 / 1.5, 1);
    expect(shareAt(10_000)).toBeCloseTo(0.5, 2);
  });

  it('use the balancer of the user', () => {
    const source = watchOf(endpoints(3));
    const mine = createState(createCluster(source), {
      balancers: { orders: ({ endpoints: all }) => ({ pick: () => found(all[2]) }) },
    });
    expect([...sharesOf(mine, 0, 20).keys()]).toEqual(['10.0.0.1:3']);
    const other = createState(createCluster(source), { balancers: { payments: roundRobin } });
    expect(sharesOf(other, 0, 200).size).toBe(3);
  });
});

describe('picks with a condition', () => {
  const isNot = (port: number) => (one: EndpointState) => one.endpoint.port !== port;

  it('find what fulfils it by chance or by looking at all', () => {
    const { state } = createState(createCluster(endpoints(50)));
    const only = found(state.endpoints[33]);
    for (const repicks of [0, 5]) expect(state.pick(0, (one) => one === only, repicks)).toBe(only);
    expect(repeat(100, () => state.pick(0, isNot(1))?.endpoint.port)).not.toContain(1);
  });

  it('find the least loaded of what fulfils it', () => {
    const { state } = createState(createCluster(endpoints(30)));
    const good = [found(state.endpoints[3]), found(state.endpoints[4])];
    found(good[0]).active = 5;
    expect(state.pick(0, (one) => good.includes(one), 0)).toBe(good[1]);
  });

  it('never find an endpoint of weight 0, or of a locality of weight 0, beside others', () => {
    const list = [
      endpoint(1, { locality: 'x' }),
      endpoint(2, { locality: 'x', weight: 0 }),
      endpoint(3, { locality: 'y' }),
    ];
    const { state } = createState(createCluster(list, { localityWeights: { x: 1, y: 0 } }));
    const first = found(state.endpoints[0]);
    expect(state.pick(0, isNot(1))).toBeUndefined();
    expect(state.pickUntried(0, { endpoint: first, before: undefined }, 5)).toBeUndefined();
    expect([state.usableCount, state.hasUsable(isNot(1))]).toEqual([1, false]);
  });

  it('find none that fails while another is well, however idle it is', () => {
    const { state } = createState(createCluster(endpoints(3)));
    const [cheap, failing, well] = [
      found(state.endpoints[0]),
      found(state.endpoints[1]),
      found(state.endpoints[2]),
    ];
    Object.assign(failing, { costMs: 5000, failuresInRow: 2, failedAtMs: 0 });
    Object.assign(well, { costMs: 50, active: 3 });
    expect(new Set(repeat(50, () => state.pick(10, (one) => one !== cheap)))).toEqual(new Set([well]));
    // As long as the one that came back answers its first call, it would be the cheapest.
    Object.assign(cheap, { isOnProbation: true, active: 1 });
    expect(new Set(repeat(50, () => state.pick(10)))).toEqual(new Set([well]));
    expect(state.pick(10, (one) => one === failing)).toBe(failing);
  });

  it('find spare ones, nearest first, those of weight 0 last, and none that is ejected', () => {
    const list = [
      endpoint(1),
      endpoint(2, { weight: 0 }),
      endpoint(3, { priority: 2 }),
      endpoint(4, { priority: 1 }),
      endpoint(5, { priority: 1 }),
    ];
    const { state } = createState(createCluster(list, { panicPercent: 0 }));
    const tried: EndpointState[] = [];
    const next = (): number | undefined => {
      const spare = state.pickSpare(0, (one) => !tried.includes(one));
      if (spare !== undefined) tried.push(spare);
      return spare?.endpoint.port;
    };
    const near = [next(), next()];
    expect(near.toSorted()).toEqual([4, 5]);
    expect([next(), next(), next()]).toEqual([3, 2, undefined]);
    for (let i = 0; i < 5; i++) state.onResult(found(state.endpoints[3]), 'local-error', undefined, 0);
    expect(new Set(repeat(50, () => state.pickSpare(0)?.endpoint.port))).toEqual(new Set([5]));
  });

  it('find spare ones of a locality of weight 0 last', () => {
    const list = [
      endpoint(1, { locality: 'x' }),
      endpoint(2, { locality: 'y' }),
      endpoint(3, { locality: 'x', priority: 1 }),
    ];
    const { state } = createState(createCluster(list, { localityWeights: { x: 1, y: 0 } }));
    expect(state.pickSpare(0)?.endpoint.port).toBe(3);
    expect(state.pickSpare(0, isNot(3))?.endpoint.port).toBe(2);
  });

  it('find spare ones where nothing was tried first, and those that fail last', () => {
    const list = [0, 0, 1, 1, 2].map((priority, i) => endpoint(i + 1, { priority }));
    const { state } = createState(createCluster(list, { panicPercent: 0 }));
    const [near, , far, other] = state.endpoints;
    for (let i = 0; i < 5; i++) state.onResult(found(state.endpoints[1]), 'local-error', undefined, 0);
    expect(state.usableCount).toBe(3);
    const tried = { endpoint: found(near), before: undefined };
    Object.assign(found(other), { failuresInRow: 2, failedAtMs: 0 });
    expect(new Set(repeat(50, () => state.pickSpare(0, undefined, tried)))).toEqual(new Set([far]));
    const both = { endpoint: found(far), before: tried };
    expect(state.pickSpare(0, undefined, both)?.endpoint.port).toBe(5);
    expect(state.pickSpare(0, isNot(5), both)).toBe(other);
  });

  it('spread over spare ones that are equal, by load where that differs', () => {
    const list = [endpoint(1), ...repeat(4, (i) => endpoint(10 + i, { priority: 1 }))];
    const { state } = createState(createCluster(list));
    const ports = (): Set<number | undefined> =>
      new Set(repeat(200, () => state.pickSpare(0)?.endpoint.port));
    expect(ports()).toEqual(new Set([10, 11, 12, 13]));
    for (const one of state.endpoints.slice(1, 4)) one.active = 1;
    expect(ports()).toEqual(new Set([13]));
  });

  it('find nothing where nothing fulfils it', () => {
    const { state } = createState(createCluster(endpoints(5)));
    expect(state.pick(0, () => false)).toBeUndefined();
  });
});

describe('retries of a cluster', () => {
  it('need a token and a place, and count refusals', () => {
    const { state } = createState(
      createCluster(endpoints(1), {
        retryBudget: { capacity: 3, perSuccess: 0.1 },
        retryConcurrency: { budgetPercent: 20, minRetries: 1 },
      }),
    );
    expect([state.tryRetry(), state.tryRetry(), state.budget.tokens]).toEqual([true, false, 2]);
    state.activeCalls = 7;
    state.pending = 3;
    expect([state.tryRetry(), state.tryRetry()]).toEqual([true, false]);
    state.releaseRetry();
    state.releaseRetry();
    expect([state.tryRetry(), state.tryRetry()]).toEqual([true, false]);
    expect([state.stats.retries, state.stats.budgetRefusals, state.activeRetries]).toEqual([3, 3, 1]);
  });

  it('cost nothing if they were never made', () => {
    const { state } = createState(createCluster(endpoints(1)));
    state.tryRetry();
    state.releaseRetry(false);
    expect([state.stats.retries, state.activeRetries, state.budget.tokens]).toEqual([0, 0, 10]);
  });
});

describe('Clusters', () => {
  function create(): Clusters {
    const parts: ClusterParts = { runtime: createManualRuntime(), logger: createLog().logger };
    return new Clusters(parts);
  }

  it('keep one state for a name, under the configuration asked for last', () => {
    const clusters = create();
    const source = watchOf(endpoints(1));
    const state = clusters.of(createCluster(source));
    const next = createCluster(source, { panicPercent: 0 });
    expect([clusters.of(next), clusters.all.length, state.rules.panicPercent]).toEqual([state, 1, 0]);
  });

  it('let go of names that are not configured any more', () => {
    const clusters = create();
    const source = watchOf(endpoints(1));
    const state = clusters.of(createCluster(source));
    clusters.retain(new Set(['orders']));
    expect(clusters.all).toEqual([state]);
    clusters.retain(new Set(['payments']));
    source.set(endpoints(2));
    expect([clusters.all.length, state.endpoints.length]).toEqual([0, 1]);
    expect(clusters.of(createCluster(source))).not.toBe(state);
    clusters.close();
    expect(clusters.all).toEqual([]);
  });
});
