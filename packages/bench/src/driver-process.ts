// A fresh process for one question, so that nothing else has shaped the code that is timed: prints what one run costs.
import { silentLogger, systemRuntime } from '@inmesh/core';
import { type ClusterState, Clusters } from '@inmesh/resilience';
import { bytes, nanoseconds } from './batches.js';
import { clusterOf, openNullTransport } from './null-transport.js';
import type { Cost } from './protocol.js';

const many = 1000;

/** Many endpoints, as they are in the middle of things: latencies known, calls in flight. */
function busyCluster(): ClusterState {
  const cluster = new Clusters({ runtime: systemRuntime, logger: silentLogger }).of(clusterOf(many));
  const nowMs = systemRuntime.now();
  for (const [i, endpoint] of cluster.endpoints.entries()) {
    cluster.onResult(endpoint, 'ok', 1 + (i % 17), nowMs);
    for (let n = i % 3; n > 0; n--) cluster.onStart(endpoint);
  }
  return cluster;
}

function openPick(): () => void {
  const cluster = busyCluster();
  let nowMs = systemRuntime.now();
  return () => {
    nowMs += 0.01;
    if (cluster.pick(nowMs) === undefined) throw new Error('invariant: a pick without an endpoint');
  };
}

function openCycle(): () => void {
  const cluster = busyCluster();
  let nowMs = systemRuntime.now();
  return () => {
    nowMs += 0.01;
    const endpoint = cluster.pick(nowMs);
    if (endpoint === undefined) throw new Error('invariant: a pick without an endpoint');
    cluster.onStart(endpoint);
    cluster.onResult(endpoint, 'ok', 2, nowMs);
    cluster.onEnd(endpoint);
  };
}

const questions: Readonly<Record<string, () => () => void>> = {
  call: () => openNullTransport(3, 0),
  retried: () => openNullTransport(3, 1),
  pick: openPick,
  cycle: openCycle,
};
const body = questions[process.argv[2] ?? '']?.();
if (body === undefined) throw new Error(`there are ${Object.keys(questions).join(', ')}`);
const cost: Cost = { ns: nanoseconds(body), bytes: bytes(body) };
process.stdout.write(JSON.stringify(cost));
process.exit(0);
