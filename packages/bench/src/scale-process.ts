// A fresh process for one question of scale and one size: prints the answer.
import { compilePolicies } from '@inmesh/authz';
import { parsePolicyObject } from '@inmesh/config/policies';
import {
  type AuthorizationPolicy,
  CallState,
  type Cluster,
  compile,
  type Endpoint,
  FlatHeaders,
  type Layer,
  type PlanRun,
  type RequestFacts,
  type Snapshot,
  silentLogger,
  systemRuntime,
  unknownConnection,
  WatchSource,
  type Workload,
} from '@inmesh/core';
import { okEnd } from '@inmesh/core/testing';
import { Clusters, Router } from '@inmesh/resilience';
import { istioBounds, MetricStore, renderInSlices } from '@inmesh/telemetry';
import { nanoseconds } from './batches.js';
import { clusterOf, request } from './null-transport.js';
import { makePolicies } from './policies.js';
import { quantile } from './statistics.js';

const gc = (globalThis as { readonly gc?: () => void }).gc;
const workload: Workload = { service: 'server', namespace: 'default', trustDomain: 'dev.local', labels: {} };

/** Bytes of heap that what `make` returns keeps: the middle of some counts, as what was made before goes meanwhile. */
function kept(make: () => unknown): number {
  if (gc === undefined) throw new Error('bytes are counted under --expose-gc');
  const count = (): number => {
    gc();
    const before = process.memoryUsage().heapUsed;
    const held = [make()];
    gc();
    const bytes = process.memoryUsage().heapUsed - before;
    return held.length === 1 ? bytes : Number.NaN;
  };
  // Once for what is made only the first time.
  count();
  return quantile(Array.from({ length: 7 }, count), 0.5);
}

/** Milliseconds that `body` blocks for: the least of some runs, as others share the machine. */
function blocked(body: (i: number) => void, runs = 9): number {
  const samples = Array.from({ length: runs }, (_, i) => {
    const startedMs = performance.now();
    body(i);
    return performance.now() - startedMs;
  });
  return Math.min(...samples);
}

function endpointList(count: number, changed = -1): readonly Endpoint[] {
  return Array.from({ length: count }, (_, i) => ({
    host: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
    port: i === changed ? 9000 : 8443,
  }));
}

function newClusters(): Clusters {
  return new Clusters({ runtime: systemRuntime, logger: silentLogger });
}

function pick(count: number): number {
  const cluster = newClusters().of(clusterOf(count));
  let nowMs = systemRuntime.now();
  for (const [i, endpoint] of cluster.endpoints.entries())
    cluster.onResult(endpoint, 'ok', 1 + (i % 17), nowMs);
  return nanoseconds(() => {
    nowMs += 0.01;
    if (cluster.pick(nowMs) === undefined) throw new Error('invariant: a pick without an endpoint');
  });
}

function endpointBytes(count: number): number {
  return kept(() => newClusters().of(clusterOf(count))) / count;
}

/** One of many moves; the others stay what they are. */
function endpointUpdate(count: number): number {
  const endpoints = new WatchSource<readonly Endpoint[]>();
  const lists = Array.from({ length: 10 }, (_, i) => endpointList(count, i));
  endpoints.set(endpointList(count));
  const cluster = newClusters().of({ ...clusterOf(1), endpoints });
  return blocked((i) => {
    endpoints.set(lists[i] ?? []);
    cluster.pick(systemRuntime.now());
  });
}

function policies(count: number): readonly AuthorizationPolicy[] {
  return makePolicies(count).map((json, i) => parsePolicyObject(json, `p${i}`, { namespace: 'default' }));
}

function policyCompile(count: number): number {
  const parsed = policies(count);
  return blocked(() => void compilePolicies(parsed, workload), 5);
}

function policyBytes(count: number): number {
  const parsed = policies(count);
  return kept(() => compilePolicies(parsed, workload)) / 1_048_576;
}

function snapshotOf(clusters: readonly Cluster[]): Snapshot {
  return {
    version: 1,
    workload: { ...workload, service: 'client' },
    mtls: 'strict',
    clusters: new Map(clusters.map((one) => [one.name, one])),
    routes: new Map(),
    policies: [],
  };
}

function clusterList(count: number): readonly Cluster[] {
  const one = clusterOf(1);
  return Array.from({ length: count }, (_, i) => ({ ...one, name: `service-${i}` }));
}

function lookUp(router: Router, host: string): void {
  const routed = router.route(router.nameOf(host) ?? '', request);
  if (routed.kind !== 'forward') throw new Error('invariant: a cluster without a route');
}

function clusterLookup(count: number): number {
  const snapshot = snapshotOf(clusterList(count));
  const router = new Router(() => snapshot, newClusters(), systemRuntime);
  const hosts = [...snapshot.clusters.keys()];
  // As many as are called from one process, however many there are.
  const called = Math.min(64, hosts.length);
  return nanoseconds((i) => lookUp(router, hosts[((i % called) * 151) % hosts.length] ?? ''));
}

function clusterBytes(count: number): number {
  const list = clusterList(count);
  return (
    kept(() => {
      const clusters = newClusters();
      for (const one of list) clusters.of(one);
      return clusters;
    }) / count
  );
}

/** One of many changes its rules; then it is called. */
function clusterChange(count: number): number {
  const list = clusterList(count);
  let snapshot = snapshotOf(list);
  const clusters = newClusters();
  const router = new Router(() => snapshot, clusters, systemRuntime);
  for (const { name } of list) lookUp(router, name);
  return blocked((i) => {
    const [first] = list;
    if (first === undefined) return;
    const limits = { ...first.rules.limits, maxRequests: 1000 + i };
    const changed = { ...first, rules: { ...first.rules, limits } };
    snapshot = { ...snapshot, version: i, clusters: new Map(snapshot.clusters).set(first.name, changed) };
    lookUp(router, first.name);
  });
}

/** A phase of a layer. */
function layerPhase(count: number): number {
  const layers = Array.from(
    { length: count },
    (_, i): Layer => ({
      role: `n${i}`,
      scope: 'call',
      why: 'bench',
      bind: () => ({ request: () => undefined, head: () => {}, end: () => {} }),
    }),
  );
  const plan = compile(layers, { side: 'server' });
  const facts: RequestFacts = { method: 'GET', path: '/', authority: 'a', connection: unknownConnection };
  const call = new CallState({
    side: 'server',
    protocol: 'http1',
    facts,
    headers: new FlatHeaders([]),
    startedMs: 0,
    onCancel: () => {},
  });
  const head = { httpStatus: 200, grpcStatus: undefined, headers: call.headers };
  const run: PlanRun = { entered: 0, hasEnded: false, onPass: () => {}, onHalt: () => {} };
  const ns = nanoseconds(() => {
    run.entered = 0;
    run.hasEnded = false;
    plan.begin(run, call);
    plan.head(run, call, head);
    plan.end(run, call, okEnd);
  });
  return ns / (3 * count);
}

const labels = ['source', 'destination', 'code'];

function storeOf(count: number): MetricStore {
  const store = new MetricStore({ runtime: systemRuntime });
  const family = store.histogram({ name: 'bench_milliseconds', help: 'Bench.', labels }, istioBounds);
  for (let i = 0; i < count; i++) family.of([`caller-${i}`, 'server', '200']).observe(i % 100);
  return store;
}

/** The longest that a scrape blocks for. */
async function scrape(count: number): Promise<number> {
  const store = storeOf(count);
  let longestMs = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 9; run++) {
    let lastMs = performance.now();
    let worstMs = 0;
    let isOver = false;
    const look = (): void => {
      const nowMs = performance.now();
      worstMs = Math.max(worstMs, nowMs - lastMs);
      lastMs = nowMs;
      if (!isOver) setImmediate(look);
    };
    setImmediate(look);
    await renderInSlices(store, 'prometheus', systemRuntime);
    isOver = true;
    look();
    longestMs = Math.min(longestMs, worstMs);
  }
  return longestMs;
}

const questions: Readonly<Record<string, (count: number) => Promise<number> | number>> = {
  pick,
  'endpoint.bytes': endpointBytes,
  'endpoint.update': endpointUpdate,
  'policy.compile': policyCompile,
  'policy.memory': policyBytes,
  'cluster.lookup': clusterLookup,
  'cluster.bytes': clusterBytes,
  'cluster.change': clusterChange,
  'layer.phase': layerPhase,
  'series.bytes': (count) => kept(() => storeOf(count)) / count,
  'series.scrape': scrape,
};
const [, , question = '', size = ''] = process.argv;
const answer = await questions[question]?.(Number(size));
if (answer === undefined) throw new Error(`there are ${Object.keys(questions).join(', ')}`);
process.stdout.write(String(answer));
process.exit(0);
