import { Client, type SimulatedAttempt } from './client.js';
import { exponential } from './random.js';
import type { Row } from './row.js';
import { VirtualRuntime } from './virtual-runtime.js';

const replicas = 3;
const readers = 8;
const writers = 4;
/** Mean time to answer, in milliseconds. */
const serviceMs = 15;
/** What a replica that fails takes to say so, in milliseconds. */
const failingMs = 1;

type Fault = 'fail' | 'reset' | 'stall';

const faultMs: Readonly<Record<Fault, number>> = { fail: 150, reset: 150, stall: 900 };
const faults = Object.keys(faultMs) as readonly Fault[];

/** What came of a run. */
interface FaultStorm {
  /** Calls that may be repeated. */
  readonly reads: number;
  /** Those of them that failed. */
  readonly lost: number;
  /** Attempts that met a fault, in percent. */
  readonly metPercent: number;
}

/**
 * Three replicas of which one at a time, chosen by chance, fails at once, breaks connections or stands still, and is
 * well again: what `npm run chaos` does to processes, on virtual time.
 *
 * @param everyMs - Mean time between faults, in milliseconds.
 */
function faultStorm(seed: number, minutes: number, everyMs: number): FaultStorm {
  const runtime = new VirtualRuntime(seed);
  const random = (): number => runtime.random();
  let victim = -1;
  let fault: Fault = 'fail';
  let faultEndsMs = 0;
  let attempts = 0;
  let met = 0;
  const work = (attempt: SimulatedAttempt): void => {
    attempts++;
    const isHit = attempt.endpoint.endpoint.port - 1 === victim;
    if (!isHit) {
      runtime.after(exponential(random, serviceMs), () => attempt.answer(200));
      return;
    }
    met++;
    if (fault === 'stall')
      runtime.after(faultEndsMs - runtime.now() + exponential(random, serviceMs), () => attempt.answer(200));
    else runtime.after(failingMs, () => (fault === 'fail' ? attempt.answer(503) : attempt.reset()));
  };
  const client = new Client(runtime, work, {
    endpoints: replicas,
    retry: { conditions: ['5xx', 'connect-failure', 'refused-stream'] },
  });
  let reads = 0;
  let lost = 0;
  const read = (): void => {
    reads++;
    client.call((ended) => {
      if (ended !== 200) lost++;
      runtime.after(0, read);
    });
  };
  const write = (): void => client.callOnce(() => runtime.after(0, write));
  for (let i = 0; i < readers; i++) runtime.after(0, read);
  for (let i = 0; i < writers; i++) runtime.after(0, write);
  const attack = (): void => {
    fault = faults[Math.floor(random() * faults.length)] ?? 'fail';
    victim = Math.floor(random() * replicas);
    faultEndsMs = runtime.now() + faultMs[fault];
    runtime.after(faultMs[fault], () => {
      victim = -1;
      runtime.after(everyMs * (0.67 + 0.67 * random()), attack);
    });
  };
  runtime.after(everyMs, attack);
  runtime.runUntil(minutes * 60_000);
  return { reads, lost, metPercent: (100 * met) / attempts };
}

/**
 * A replica that fails is left alone while others are well, also when no more may be ejected and the others failed a
 * moment ago; else ten tokens are gone within a tenth of a second, and calls are lost.
 *
 * @param seeds - How many runs of `minutes` each.
 */
export function faultStorms(seeds: number, minutes: number): readonly Row[] {
  const total = (everyMs: number): FaultStorm => {
    const runs = Array.from({ length: seeds }, (_, i) => faultStorm(i + 1, minutes, everyMs));
    const sum = (of: (run: FaultStorm) => number): number => runs.reduce((all, run) => all + of(run), 0);
    return {
      reads: sum((run) => run.reads),
      lost: sum((run) => run.lost),
      metPercent: sum((run) => run.metPercent) / seeds,
    };
  };
  const row = (everyMs: number, published: string, perMillion: number): Row => {
    const { reads, lost, metPercent } = total(everyMs);
    return {
      name: `S16 reads lost, a fault every ${everyMs} ms at one of three`,
      ours: `${lost} of ${reads}; faults met by ${metPercent.toFixed(2)} %`,
      published,
      bound: perMillion === 0 ? '0' : `<= ${perMillion} in a million`,
      isKept: lost <= (perMillion * reads) / 1e6,
    };
  };
  return [
    row(2250, 'none; by cost alone 7,900 in a million', 0),
    row(600, 'none; by cost alone 60,000 in a million', 20),
  ];
}
