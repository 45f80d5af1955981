import type { RetryReason } from '@inmesh/core';
import type { AttemptResult } from './endpoint-state.js';

/** How an attempt ended, as it is counted. */
export type CountedResult = AttemptResult | 'cancelled';

/** How an attempt ended, in words; the names are stable. */
export const attemptResults: Readonly<Record<CountedResult, string>> = Object.freeze({
  ok: 'It was answered, and not with a failure of its endpoint; a 404 is none.',
  error:
    "It was answered with a failure: a 5xx other than those below, a gRPC status that stands for one, or what the application's classifier takes for one.",
  'gateway-error': 'It was answered with 502, 503 or 504, or with a gRPC status that stands for one of them.',
  'local-error':
    'It could not be connected, the connection or the stream broke, also in the middle of a reply, or it took too long.',
  unknown:
    'It says neither good nor ill of its endpoint: 429 or its like in gRPC, a stream that the peer refused, a limit of ours, a body that could not be read, the deadline of a stream that was under way.',
  cancelled: 'The caller, a layer or a closing client ended it before it was known what it came to.',
});

const results = Object.keys(attemptResults) as readonly CountedResult[];

/** Where it stands in {@link results}. By comparing: a property that is found by a name that varies costs 30 ns more. */
function placeOf(result: CountedResult): number {
  switch (result) {
    case 'ok':
      return 0;
    case 'error':
      return 1;
    case 'gateway-error':
      return 2;
    case 'local-error':
      return 3;
    case 'unknown':
      return 4;
    case 'cancelled':
      return 5;
  }
}

/** How many attempts were made for one reason and ended in one way. */
export interface AttemptCount {
  /** Why they were made; `undefined` for the first ones of their calls. */
  readonly reason: RetryReason | undefined;
  /** How they ended. */
  readonly result: CountedResult;
  /** How many. */
  readonly count: number;
}

/** Attempts that have ended, by why they were made and how they ended. Most clusters have first attempts only. */
export class AttemptCounts {
  /** A number for each result of first attempts; behind them as many for each reason, as they first occur. */
  readonly #counts: number[] = results.map(() => 0);
  #reasons: RetryReason[] | undefined;

  /** Counts one. @param reason - Why it was made; `undefined` for the first of its call. */
  add(result: CountedResult, reason: RetryReason | undefined): void {
    const at = placeOf(result) + (reason === undefined ? 0 : this.#rowOf(reason) * results.length);
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }

  /** Those that there are any of. */
  read(): readonly AttemptCount[] {
    return this.#counts.flatMap((count, at) => {
      const result = results[at % results.length];
      if (count === 0 || result === undefined) return [];
      return [{ reason: this.#reasons?.[Math.floor(at / results.length) - 1], result, count }];
    });
  }

  /** There are some of them at most. */
  #rowOf(reason: RetryReason): number {
    this.#reasons ??= [];
    const known = this.#reasons.indexOf(reason);
    if (known >= 0) return known + 1;
    this.#counts.push(...results.map(() => 0));
    return this.#reasons.push(reason);
  }
}
