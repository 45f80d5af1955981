import { type Cluster, isMeshError, type Route, type Snapshot } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import { describe, expect, it } from 'vitest';
import { Clusters, defaultRouteRules, Router, routePolicy } from '../src/index.js';
import { createCluster, createLog, endpoints } from './support.js';

function snapshot(
  clusters: readonly Cluster[],
  routes: Readonly<Record<string, readonly Route[]>> = {},
): Snapshot {
  return {
    version: 1,
    workload: { service: 'web', namespace: 'shop', trustDomain: 'dev.local', labels: {} },
    mtls: 'strict',
    clusters: new Map(clusters.map((one) => [one.name, one])),
    routes: new Map(Object.entries(routes)),
    policies: [],
  };
}

function named(name: string): Cluster {
  return { ...createCluster(endpoints(1)), name };
}

function route(cluster: string, prefix = '/'): Route {
  return {
    name: 'r1',
    matches: [{ path: { prefix } }],
    action: { kind: 'forward', backends: [{ cluster }] },
    rules: { ...defaultRouteRules, timeoutMs: 77 },
    origin: { source: 'code', line: 0, column: 0 },
  };
}

function create(first: Snapshot): {
  readonly router: Router;
  readonly clusters: Clusters;
  readonly use: (next: Snapshot) => void;
} {
  let current = first;
  const runtime = createManualRuntime();
  const clusters = new Clusters({ runtime, logger: createLog().logger });
  return {
    router: new Router(() => current, clusters, runtime),
    clusters,
    use: (next) => void (current = next),
  };
}

const request = {
  method: 'GET',
  target: '/x',
  scheme: 'http',
  authority: 'orders',
  header: () => undefined,
};

function codeOf(act: () => unknown): string | undefined {
  try {
    act();
  } catch (error) {
    return isMeshError(error) ? error.code : String(error);
  }
  return undefined;
}

describe('Router', () => {
  it('sends a name without routes to the cluster of that name, under its rules', () => {
    const cluster = named('orders');
    const { router, clusters } = create(snapshot([cluster]));
    const routed = router.route('orders', request);
    expect(routed).toMatchObject({ kind: 'forward', cluster: clusters.all[0] });
    expect(routed.kind === 'forward' && routed.forward.policy).toBe(routePolicy(cluster.routeRules));
    expect(router.route('orders', request)).toMatchObject({ cluster: clusters.all[0] });
  });

  it('follows the routes of a name, under theirs', () => {
    const { router } = create(snapshot([named('a'), named('b')], { shop: [route('b')] }));
    const routed = router.route('shop', request);
    expect(routed.kind === 'forward' && [routed.cluster.name, routed.forward.policy.rules.timeoutMs]).toEqual(
      ['b', 77],
    );
  });

  it('answers where a route does', () => {
    const direct: Route = { ...route('a'), action: { kind: 'direct', status: 204 } };
    const { router } = create(snapshot([], { shop: [direct] }));
    expect(router.route('shop', request)).toEqual({ kind: 'answer', reply: { httpStatus: 204 } });
  });

  it('knows names of clusters and routes, with and without our namespace', () => {
    const { router } = create(snapshot([named('orders')], { shop: [route('orders')] }));
    const names = ['orders', 'Orders.:80', 'orders.shop', 'shop', 'orders.other', 'example.com'];
    expect(names.map((name) => router.nameOf(name))).toEqual([
      'orders',
      'orders',
      'orders',
      'shop',
      undefined,
      undefined,
    ]);
  });

  it('throws where nothing matches, and where the cluster is not configured', () => {
    const { router } = create(snapshot([named('a')], { shop: [route('a', '/y')], lost: [route('gone')] }));
    expect(codeOf(() => router.route('shop', request))).toBe('INMESH_ERR_NO_ROUTE');
    expect(codeOf(() => router.route('lost', request))).toBe('INMESH_ERR_NO_ENDPOINT');
    expect(codeOf(() => router.route('nobody', request))).toBe('INMESH_ERR_NO_ENDPOINT');
  });

  it('goes by the snapshot in force, keeps the state of clusters, and lets go of those that left', () => {
    const [a, b] = [named('a'), named('b')];
    const { router, clusters, use } = create(snapshot([a, b], { shop: [route('a')] }));
    router.route('shop', request);
    router.route('b', request);
    const before = clusters.all.find((one) => one.name === 'a');
    use(snapshot([{ ...a, rules: { ...a.rules, panicPercent: 3 } }], { shop: [route('a')] }));
    const routed = router.route('shop', request);
    expect(routed.kind === 'forward' && routed.cluster).toBe(before);
    expect([before?.rules.panicPercent, clusters.all.length]).toEqual([3, 1]);
  });
});
