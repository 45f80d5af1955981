import { Client, type ClientOptions } from './client.js';
import type { Row } from './row.js';
import { listed } from './statistics.js';
import { VirtualRuntime } from './virtual-runtime.js';

const failurePercents = [1, 5, 10, 20, 50, 100];

interface Curve {
  readonly failures: readonly number[];
  readonly loads: readonly number[];
}

/** What the caller sees of a service that fails a share of its calls, and how many attempts that takes. */
function outcome(percent: number, calls: number, options: ClientOptions): { failed: number; load: number } {
  const runtime = new VirtualRuntime(42);
  let attempts = 0;
  let failed = 0;
  const client = new Client(
    runtime,
    (attempt) => {
      attempts++;
      attempt.answer(runtime.random() * 100 < percent ? 500 : 200);
    },
    options,
  );
  for (let i = 0; i < calls; i++) {
    client.call((ended) => {
      if (ended !== 200) failed++;
    });
    // One after another: every retry of this call comes before the next call.
    runtime.runAll();
  }
  return { failed: (100 * failed) / calls, load: attempts / calls };
}

function curve(calls: number, options: ClientOptions): Curve {
  const points = failurePercents.map((percent) => outcome(percent, calls, options));
  return { failures: points.map((one) => one.failed), loads: points.map((one) => one.load) };
}

/** Within 10 % of what is expected, or a fifth of a percent point. */
function isNear(ours: readonly number[], expected: readonly number[]): boolean {
  return ours.every((one, i) => {
    const other = expected[i] ?? Number.NaN;
    return Math.abs(one - other) <= Math.max(0.1 * other, 0.2);
  });
}

/**
 * S4.
 *
 * @param calls - For each share of failures.
 * @see {@link https://brooker.co.za/blog/2022/02/28/retries.html | Fixing retries with token buckets}
 */
export function failingService(calls: number): readonly Row[] {
  const retry = { maxAttempts: 4, conditions: ['5xx'], backoff: () => 1 } as const;
  const endless = { retryBudget: { capacity: Number.POSITIVE_INFINITY, perSuccess: 0 } };
  const tokens = curve(calls, { retry });
  const fixed = curve(calls, { retry, cluster: endless });
  const row = (name: string, ours: readonly number[], expected: readonly number[], digits: number): Row => ({
    name,
    ours: listed(ours, digits),
    published: expected.join(' / '),
    bound: '+-10 %, or 0.2',
    isKept: isNear(ours, expected),
  });
  const at = `at ${failurePercents.join('/')} %`;
  return [
    row(`S4 failures with our budget ${at}`, tokens.failures, [0, 0, 1.2, 12.9, 47, 100], 1),
    row('S4 load with our budget', tokens.loads, [1.01, 1.05, 1.1, 1.09, 1.05, 1], 2),
    row('S4 failures with three fixed retries', fixed.failures, [0, 0, 0.01, 0.15, 6.2, 100], 2),
    row('S4 load with three fixed retries', fixed.loads, [1.01, 1.05, 1.11, 1.25, 1.87, 4], 2),
  ];
}
