import { quantile } from './statistics.js';

const gc = (globalThis as { readonly gc?: () => void }).gc;

/** Nanoseconds of CPU for one run of `body`, tenth percentile of many batches. */
export function nanoseconds(body: (i: number) => void, batch = 20_000, batches = 60): number {
  const samples: number[] = [];
  for (let b = 0; b < batches; b++) {
    const before = process.cpuUsage();
    for (let i = 0; i < batch; i++) body(i);
    const { user, system } = process.cpuUsage(before);
    samples.push(((user + system) * 1000) / batch);
  }
  return quantile(samples, 0.1);
}

/**
 * Bytes that one run of `body` allocates: growth of the heap over many runs, in a process that was started with
 * `--expose-gc` and a young generation that takes them all. Exact; a batch in which there was a collection is not.
 */
export function bytes(body: () => void, batch = 20_000, batches = 15): number {
  if (gc === undefined) throw new Error('bytes are counted under --expose-gc');
  const samples: number[] = [];
  for (let b = 0; b < batches; b++) {
    gc();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < batch; i++) body();
    samples.push((process.memoryUsage().heapUsed - before) / batch);
  }
  return Math.round(quantile(samples, 0.5));
}
