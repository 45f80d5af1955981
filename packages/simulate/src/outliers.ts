import { type OutlierRules, silentLogger } from '@inmesh/core';
import { type ClusterState, Clusters, defaultOutlierRules, type EndpointState } from '@inmesh/resilience';
import { createCluster, endpointList } from './client.js';
import { createRandom } from './random.js';
import type { Row } from './row.js';
import { listed, median } from './statistics.js';
import { VirtualRuntime } from './virtual-runtime.js';

/** 50 % without success for this many calls: hopeless. */
const patience = 100_000;

function create(count: number, outlier: Partial<OutlierRules> = {}): readonly [ClusterState, VirtualRuntime] {
  const runtime = new VirtualRuntime(1);
  const clusters = new Clusters({ runtime, logger: silentLogger });
  const rules = { outlier: { ...defaultOutlierRules, ...outlier } };
  return [clusters.of(createCluster(endpointList(count), rules)), runtime];
}

function endpointOf(cluster: ClusterState, index: number): EndpointState {
  const endpoint = cluster.endpoints[index];
  if (endpoint === undefined) throw new Error('invariant: no such endpoint');
  return endpoint;
}

/** Calls until an endpoint that fails a share of them is out. */
function callsUntilOut(share: number, random: () => number): number {
  const [cluster] = create(10);
  const bad = endpointOf(cluster, 0);
  for (let calls = 1; calls <= patience; calls++) {
    cluster.onResult(bad, random() < share ? 'error' : 'ok', 10, calls);
    if (bad.isEjected) return calls;
  }
  return Number.POSITIVE_INFINITY;
}

/** Lengths of ejections, one right after the other, in seconds. */
function lengths(times: number): readonly number[] {
  const [cluster] = create(2, { jitterRatio: 0, intervalMs: 3_600_000 });
  const bad = endpointOf(cluster, 0);
  let nowMs = 0;
  return Array.from({ length: times }, () => {
    while (!bad.isEjected) cluster.onResult(bad, 'error', 10, nowMs);
    const seconds = (bad.ejectedUntilMs - nowMs) / 1000;
    nowMs = bad.ejectedUntilMs;
    cluster.pick(nowMs);
    return seconds;
  });
}

/** Largest share that is out when everything fails, in percent, for clusters of 2 to 20. */
function largestShare(): number {
  const shares = Array.from({ length: 19 }, (_, i) => {
    const [cluster] = create(i + 2);
    for (const one of cluster.endpoints)
      for (let calls = 0; calls < 20; calls++) cluster.onResult(one, 'error', 10, 1);
    return (100 * cluster.ejected) / cluster.endpoints.length;
  });
  return Math.max(...shares);
}

/** Ejections of a healthy cluster of ten that fails one call in two hundred. */
function falseAlarms(calls: number, random: () => number): number {
  const [cluster] = create(10);
  for (let i = 0; i < calls; i++) {
    const endpoint = cluster.pick(i);
    if (endpoint === undefined) throw new Error('invariant: nothing to pick');
    cluster.onResult(endpoint, random() < 0.005 ? 'error' : 'ok', 10, i);
  }
  return cluster.stats.ejections;
}

/** S7. @param trials - For the median. @param calls - To the healthy cluster. */
export function outliers(trials: number, calls: number): readonly Row[] {
  const random = createRandom(11);
  const always = callsUntilOut(1, random);
  const half = median(Array.from({ length: trials }, () => callsUntilOut(0.5, random)));
  const times = lengths(12);
  const share = largestShare();
  const alarms = falseAlarms(calls, random);
  return [
    {
      name: 'S7 calls until out, failing 100 / 50 % (median)',
      ours: listed([always, half], 0),
      published: '5 / 46',
      bound: '5 / 36 to 56',
      isKept: always === 5 && half >= 36 && half <= 56,
    },
    {
      name: 'S7 ejections one after another, s',
      ours: times.join(' '),
      published: '30 60 90 ... 300',
      bound: 'the same',
      isKept: times.every((one, i) => one === Math.min(300, 30 * (i + 1))),
    },
    {
      name: 'S7 largest share out, 2 to 20 endpoints, %',
      ours: share.toFixed(0),
      published: '-',
      bound: '<= 50',
      isKept: share <= 50,
    },
    {
      name: `S7 ejections of a healthy cluster in ${calls} calls`,
      ours: String(alarms),
      published: '0',
      bound: '0',
      isKept: alarms === 0,
    },
  ];
}
