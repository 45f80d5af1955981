import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { quantile } from './statistics.js';

/** Microseconds of CPU for one run of `body`: the tenth percentile of batches, as others share the machine. */
export function cpuMicroseconds(body: (i: number) => void, batch = 10_000, batches = 60): number {
  for (let i = 0; i < 3 * batch; i++) body(i);
  const samples: number[] = [];
  for (let b = 0; b < batches; b++) {
    const before = process.cpuUsage();
    for (let i = 0; i < batch; i++) body(i);
    const { user, system } = process.cpuUsage(before);
    samples.push((user + system) / batch);
  }
  return quantile(samples, 0.1);
}

function collector(): () => void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect !== 'function') throw new Error('invariant: no garbage collector to call');
  return () => void Reflect.apply(collect, undefined, []);
}

/** Bytes of heap that one run of `body` takes; the young heap must have room for all runs. */
export function heapBytes(body: (i: number) => void, runs = 20_000): number {
  const collect = collector();
  const samples = Array.from({ length: 7 }, () => {
    collect();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < runs; i++) body(i);
    return (process.memoryUsage().heapUsed - before) / runs;
  });
  // The least: rounds before the last optimization allocate more, none allocates less.
  return Math.min(...samples);
}
