import type { AttemptReply, ReplyClass } from '@inmesh/core';
import type { DriverReply } from './attempt.js';
import type { ClusterState } from './cluster-state.js';
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
  /** Whether the user's classifier said so. */
  readonly isClassified: boolean;
}

// Made once: a retry is made when there is least to spare.
const of = (
  result: AttemptResult,
  isPenalized: boolean,
  isClassified = false,
): readonly [Judgement, Judgement] => [
  Object.freeze({ result, isRetryable: false, isPenalized, isClassified }),
  Object.freeze({ result, isRetryable: true, isPenalized, isClassified }),
];
const [ok, okAgain] = of('ok', false);
const [error, errorAgain] = of('error', true);
const [gatewayError, gatewayErrorAgain] = of('gateway-error', true);
const [unknown, unknownAgain] = of('unknown', true);

const [approved] = of('ok', false, true);
const [disapproved, disapprovedAgain] = of('error', true, true);

/** Whether nothing is wrong. */
export function isFine(judgement: Judgement): boolean {
  return judgement === ok || judgement === approved;
}

/**
 * What the user's classifier says; one that throws says nothing.
 *
 * @param cluster - Told if it throws.
 */
export function classify(
  reply: AttemptReply,
  { rules }: RoutePolicy,
  cluster: Pick<ClusterState, 'onThrown'>,
): ReplyClass | undefined {
  if (rules.classify === undefined) return undefined;
  try {
    return rules.classify(reply);
  } catch (thrown) {
    cluster.onThrown('classifier', thrown);
    return undefined;
  }
}

/**
 * Judges the head of a reply: the classifier of the user first, then its status.
 *
 * @param cluster - Told if the classifier throws.
 */
export function judge(reply: DriverReply, policy: RoutePolicy, cluster: ClusterState): Judgement {
  const { predicate } = policy;
  const own = classify(reply, policy, cluster);
  if (own === 'success') return approved;
  if (own !== undefined) return own === 'retryable' ? disapprovedAgain : disapproved;
  const { httpStatus } = reply;
  const isRetryable = predicate.matchesReply(reply);
  if (httpStatus >= 502 && httpStatus <= 504) return isRetryable ? gatewayErrorAgain : gatewayError;
  if (httpStatus >= 500) return isRetryable ? errorAgain : error;
  // Neither well nor ill: it lives, and wants less.
  if (httpStatus === 429) return isRetryable ? unknownAgain : unknown;
  return isRetryable ? okAgain : ok;
}
