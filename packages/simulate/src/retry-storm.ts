import { Client, type ClientOptions, type SimulatedAttempt } from './client.js';
import { exponential } from './random.js';
import type { Row } from './row.js';
import { listed, median } from './statistics.js';
import { VirtualRuntime } from './virtual-runtime.js';

/** How clients retry. */
export type StormPolicy = 'default' | 'envoy-20%' | 'no retries' | 'unbounded';

/** What became of a service and its clients. */
export interface Storm {
  /** Calls begun in each second. */
  readonly offered: Float64Array;
  /** Calls begun in each second that were answered in the end. */
  readonly answered: Float64Array;
  /** Attempts sent in each second. */
  readonly attempts: Float64Array;
}

const seconds = 180;
/** The service is four times slower from here … */
const brownFromMs = 20_000;
/** … to here. */
const brownUntilMs = 30_000;
const clientCount = 20;

const endless = { retryBudget: { capacity: Number.POSITIVE_INFINITY, perSuccess: 0 } };
const retry = { perTryTimeoutMs: 250 };

const options: Readonly<Record<StormPolicy, ClientOptions>> = {
  default: { retry },
  'envoy-20%': { retry, cluster: { ...endless, retryConcurrency: { budgetPercent: 20, minRetries: 3 } } },
  'no retries': { retry: { ...retry, maxAttempts: 1 } },
  unbounded: { retry, cluster: endless },
};

/** Ten workers, exponential 10 ms, a queue without end; what nobody waits for any more is worked on all the same. */
class Service {
  readonly #runtime: VirtualRuntime;
  #queue: SimulatedAttempt[] = [];
  #first = 0;
  #busy = 0;

  constructor(runtime: VirtualRuntime) {
    this.#runtime = runtime;
  }

  accept(attempt: SimulatedAttempt): void {
    this.#queue.push(attempt);
    this.#work();
  }

  #work(): void {
    while (this.#busy < 10) {
      const attempt = this.#queue[this.#first];
      if (attempt === undefined) return;
      this.#first++;
      if (this.#first > 10_000) {
        this.#queue = this.#queue.slice(this.#first);
        this.#first = 0;
      }
      this.#busy++;
      this.#runtime.after(this.#serviceMs(), () => {
        this.#busy--;
        attempt.answer(200);
        this.#work();
      });
    }
  }

  #serviceMs(): number {
    const nowMs = this.#runtime.now();
    const factor = nowMs >= brownFromMs && nowMs < brownUntilMs ? 4 : 1;
    return factor * exponential(() => this.#runtime.random(), 10);
  }
}

/** Twenty clients offer `rate` calls a second to a service that can take 1,000, and is browned out for 10 s. */
export function storm(policy: StormPolicy, rate: number, seed: number): Storm {
  const runtime = new VirtualRuntime(seed);
  const service = new Service(runtime);
  const result: Storm = {
    offered: new Float64Array(seconds),
    answered: new Float64Array(seconds),
    attempts: new Float64Array(seconds),
  };
  const count = (counts: Float64Array, second: number): void => {
    counts[second] = (counts[second] ?? 0) + 1;
  };
  const now = (): number => Math.floor(runtime.now() / 1000);
  const clients = Array.from(
    { length: clientCount },
    () =>
      new Client(
        runtime,
        (attempt) => {
          count(result.attempts, now());
          service.accept(attempt);
        },
        options[policy],
      ),
  );
  const arrive = (): void => {
    const second = now();
    count(result.offered, second);
    clients[Math.floor(runtime.random() * clientCount)]?.call((ended) => {
      if (ended === 200) count(result.answered, second);
    });
    runtime.after(
      exponential(() => runtime.random(), 1000 / rate),
      arrive,
    );
  };
  runtime.after(0, arrive);
  runtime.runUntil((seconds - 1) * 1000);
  return result;
}

function sum(values: Float64Array, from: number, to: number): number {
  return values.subarray(from, to).reduce((a, b) => a + b, 0);
}

/** Seconds after the brown-out until five in a row answer 99 % of their calls; `Infinity` if none do. */
function recoveryS({ offered, answered }: Storm): number {
  const end = brownUntilMs / 1000;
  for (let from = end; from < seconds - 10; from++)
    if (sum(answered, from, from + 5) >= 0.99 * sum(offered, from, from + 5)) return from - end;
  return Number.POSITIVE_INFINITY;
}

/** Most attempts in a second around the brown-out, against the calls offered. */
function peak({ attempts }: Storm, rate: number): number {
  return Math.max(...attempts.subarray(20, 35)) / rate;
}

/** S2. @param seeds - How many runs of each; the median counts. @param rates - Calls a second. */
export function retryStorm(seeds: number, rates: readonly number[] = [700, 850]): readonly Row[] {
  const run = (policy: StormPolicy, rate: number): readonly Storm[] =>
    Array.from({ length: seeds }, (_, i) => storm(policy, rate, i + 1));
  const recoveries = rates.map((rate) => {
    const [none, ours] = (['no retries', 'default'] as const).map((policy) => run(policy, rate));
    return {
      none: median((none ?? []).map(recoveryS)),
      ours: median((ours ?? []).map(recoveryS)),
      peak: median((ours ?? []).map((one) => peak(one, rate))),
    };
  });
  const pairs = (of: 'none' | 'ours'): string =>
    listed(
      recoveries.map((one) => one[of]),
      0,
    );
  const peaks = recoveries.map((one) => one.peak);
  return [
    {
      name: `S2 recovery at ${rates.join(' / ')} calls/s, s`,
      ours: `${pairs('ours')} (no retries ${pairs('none')})`,
      published: '15 / 40 (no retries 15 / 40)',
      bound: 'no retries + 10 %, whole s',
      isKept: recoveries.every(({ none, ours }) => Number.isFinite(ours) && ours <= Math.ceil(none * 1.1)),
    },
    {
      name: 'S2 peak of attempts per call',
      ours: listed(peaks, 2),
      published: '2.77 without a budget',
      bound: '<= 1.4',
      isKept: peaks.every((one) => one <= 1.4),
    },
  ];
}

/** S2, how it goes without our budget: Envoy's recovers late, none at all never does. */
export function retryStormOfOthers(seed: number): readonly Row[] {
  const envoy = recoveryS(storm('envoy-20%', 700, seed));
  const unbounded = recoveryS(storm('unbounded', 700, seed));
  return [
    {
      name: 'S2 recovery with Envoy 20 % / without budget, s',
      ours: listed([envoy, unbounded], 0),
      published: '89 / never',
      bound: 'later than ours',
      isKept: envoy > 20 && unbounded === Number.POSITIVE_INFINITY,
    },
  ];
}
