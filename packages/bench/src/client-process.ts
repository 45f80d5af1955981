// The client of one variant: what is measured is mostly this process.

import { openGrpc } from './grpc-client.js';
import { holdConnections } from './hold.js';
import { openFetch, openHttp } from './http-client.js';
import {
  type Order,
  type RoleConfig,
  type Slice,
  type SliceResult,
  traceIf,
  type Usage,
} from './protocol.js';

const config = JSON.parse(process.argv[2] ?? '{}') as RoleConfig;
await traceIf(config.variant);
const open = { http: openHttp, fetch: openFetch, grpc: openGrpc }[config.wire];
const call = await open(config);

const cpuUs = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

/** Open loop, Poisson: latency counts from when a request should have started. */
async function arrive(
  rate: number,
  endMs: number,
  once: (intendedMs: number) => Promise<void>,
): Promise<void> {
  const pending: Promise<void>[] = [];
  let next = performance.now();
  while (next < endMs) {
    const wait = next - performance.now();
    if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
    // The pause ends up to a millisecond early: such a request starts now.
    pending.push(once(Math.min(next, performance.now())));
    next += (-Math.log(1 - Math.random()) * 1000) / rate;
  }
  await Promise.all(pending);
}

async function runSlice({ load, ms }: Slice): Promise<SliceResult> {
  const latencies: number[] = [];
  let errors = 0;
  let reason = '';
  const start = performance.now();
  const endMs = start + ms;
  const cpu = cpuUs();
  const once = async (intendedMs: number): Promise<void> => {
    try {
      await call();
      latencies.push(performance.now() - intendedMs);
    } catch (error) {
      errors++;
      reason = String(error);
    }
  };
  const repeat = async (): Promise<void> => {
    while (performance.now() < endMs) await once(performance.now());
  };
  await ('concurrency' in load
    ? Promise.all(Array.from({ length: load.concurrency }, repeat))
    : arrive(load.rate, endMs, once));
  const spent = cpuUs() - cpu;
  latencies.sort((a, b) => a - b);
  return {
    requests: latencies.length,
    errors,
    reason,
    cpuUs: spent,
    wallMs: performance.now() - start,
    p50Us: (latencies[Math.floor(latencies.length / 2)] ?? 0) * 1000,
  };
}

async function obey(order: Order): Promise<object> {
  if (order.kind === 'slice') return await runSlice(order);
  if (order.kind === 'hold') await holdConnections(config, order.connections);
  return { cpuUs: cpuUs(), rssBytes: process.memoryUsage().rss } satisfies Usage;
}

process.on('message', (order: Order) => void obey(order).then((answer) => process.send?.(answer)));
process.on('disconnect', () => process.exit());
process.send?.({});
