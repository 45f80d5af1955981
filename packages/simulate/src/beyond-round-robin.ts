import type { BalancerName } from '@inmesh/core';
import { Client, type Server } from './client.js';
import { normal } from './random.js';
import type { Row } from './row.js';
import { listed, median, sortedQuantile } from './statistics.js';
import { VirtualRuntime } from './virtual-runtime.js';

/** What one balancer made of it. */
export interface Latencies {
  /** Which. */
  readonly balancer: BalancerName;
  /** Of every call, in milliseconds, in order. */
  readonly sortedMs: readonly number[];
  /** Calls that went to the slow replica while it was slow. */
  readonly slowPicks: number;
}

const balancers = ['round-robin', 'least-request', 'peak-ewma'] as const;
const slowFromMs = 15_000;
const slowUntilMs = 45_000;

/**
 * Eleven replicas that answer in 167 ± 5 ms, 1,000 calls a second for a minute; one of them takes 2 s for half of it.
 *
 * @see {@link https://linkerd.io/2016/03/16/beyond-round-robin-load-balancing-for-latency/ | Beyond round robin}
 */
export function measureLatencies(balancer: BalancerName, seed: number): Latencies {
  const runtime = new VirtualRuntime(seed);
  const latencies: number[] = [];
  let slowPicks = 0;
  const serve: Server = (attempt) => {
    const nowMs = runtime.now();
    const isSlow = attempt.endpoint.endpoint.port === 1 && nowMs >= slowFromMs && nowMs < slowUntilMs;
    if (isSlow) slowPicks++;
    const ms = isSlow
      ? 2000
      : Math.max(
          1,
          normal(() => runtime.random(), 167, 5),
        );
    runtime.after(ms, () => attempt.answer(200));
  };
  const client = new Client(runtime, serve, { endpoints: 11, cluster: { balancer } });
  for (let atMs = 0; atMs < 60_000; atMs++)
    runtime.after(atMs, () => client.call(() => void latencies.push(runtime.now() - atMs)));
  runtime.runAll();
  return { balancer, sortedMs: latencies.sort((a, b) => a - b), slowPicks };
}

function successPercent({ sortedMs }: Latencies): number {
  const late = sortedMs.findIndex((ms) => ms > 1000);
  return late === -1 ? 100 : (100 * late) / sortedMs.length;
}

/** S1. @param seeds - How many runs; the median counts. */
export function beyondRoundRobin(seeds: number): readonly Row[] {
  const runs = balancers.map((balancer) =>
    Array.from({ length: seeds }, (_, i) => measureLatencies(balancer, i + 1)),
  );
  const success = runs.map((one) => median(one.map(successPercent)));
  const [, leastRequest = 0, ewma = 0] = success;
  const p999 = runs.map((one) => median(one.map(({ sortedMs }) => sortedQuantile(sortedMs, 0.999))));
  const slowPicks = runs.map((one) => median(one.map((run) => run.slowPicks)));
  return [
    {
      name: 'S1 answered within 1 s, RR / LR / EWMA, %',
      ours: listed(success, 2),
      published: '95 / 99 / 99.9',
      bound: 'EWMA >= 99.9, LR >= 99.3',
      isKept: ewma >= 99.9 && leastRequest >= 99.3,
    },
    {
      name: 'S1 p99.9, ms',
      ours: listed(p999, 0),
      published: 'EWMA stays fast',
      bound: 'EWMA < 200',
      isKept: (p999[2] ?? Number.NaN) < 200,
    },
    {
      name: 'S1 calls to the slow replica',
      ours: listed(slowPicks, 0),
      published: '2727 / 300 / 44',
      bound: 'EWMA < 60',
      isKept: (slowPicks[2] ?? Number.NaN) < 60,
    },
  ];
}
