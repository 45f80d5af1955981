import type { DriverReply } from './attempt.js';
import type { AttemptResult } from './endpoint-state.js';
import type { RoutePolicy } from './route-policy.js';

/** How a reply is judged. */
export interface Judgement {
  /** What it says of its endpoint. */
  readonly result: AttemptResult;
  /** Whether the conditions want the call sent again. */
  readonly isRetryable: boolean;
  /** Whether it counts as slow for the balancer, however fast it came. */
  readonly isPenalized: boolean;
}

// Made once: a retry is made when there is least to spare.
const of = (result: AttemptResult, isPenalized: boolean): readonly [Judgement, Judgement] => [
  Object.freeze({ result, isRetryable: false, isPenalized }),
  Object.freeze({ result, isRetryable: true, isPenalized }),
];
const [ok, okAgain] = of('ok', false);
const [error, errorAgain] = of('error', true);
const [gatewayError, gatewayErrorAgain] = of('gateway-error', true);
const [unknown, unknownAgain] = of('unknown', true);

/** Nothing is wrong. */
export const fine: Judgement = ok;

/** Judges the head of a reply: the classifier of the user first, then its status. */
export function judge(reply: DriverReply, { rules, predicate }: RoutePolicy): Judgement {
  const own = rules.classify?.(reply);
  if (own === 'success') return fine;
  if (own !== undefined) return own === 'retryable' ? errorAgain : error;
  const { httpStatus } = reply;
  const isRetryable = predicate.matchesReply(reply);
  if (httpStatus >= 502 && httpStatus <= 504) return isRetryable ? gatewayErrorAgain : gatewayError;
  if (httpStatus >= 500) return isRetryable ? errorAgain : error;
  // Neither well nor ill: it lives, and wants less.
  if (httpStatus === 429) return isRetryable ? unknownAgain : unknown;
  return isRetryable ? okAgain : fine;
}
