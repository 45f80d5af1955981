import type { NoRetryReason, RetryReason } from '@inmesh/core';
import { type AttemptLog, type Forward, isRetryOfCaller } from '@inmesh/resilience';
import type { CallOrigin } from './call-origin.js';
import { errorCodeOf } from './call-status.js';
import { type AttemptStatus, isRefused, type Judgement, reasonOf } from './outcome.js';
import type { RetryGate } from './retry-gate.js';

/** What an RPC may do at all, whatever happens to it. */
export interface RetryTerms {
  /** What holds. */
  readonly forward: Forward;
  /** Where it comes from. */
  readonly origin: CallOrigin | undefined;
  /** Whether its channel makes one attempt. */
  readonly isFinal: boolean;
  /** Whether it may reach a handler twice. */
  readonly mayRunTwice: boolean;
}

/** Notes what an attempt came to. */
export function logStatus(
  log: AttemptLog,
  status: AttemptStatus,
  { isClassified }: Judgement,
  hasHead: boolean,
): void {
  const { code } = status;
  log.answered({ httpStatus: undefined, grpcStatus: code, isClassified });
  const error = errorCodeOf(status);
  if (error !== undefined) log.failed(error, isRefused(status) && !hasHead ? 'refused' : 'maybe');
  if (code !== 0 && hasHead) log.final('delivered');
}

/** Why a call is final by its own terms; `undefined` if it is not. */
function refusalOf(
  { forward, origin, isFinal, mayRunTwice }: RetryTerms,
  status: AttemptStatus,
  { isRetryable, isClassified }: Judgement,
): NoRetryReason | undefined {
  if (!isRetryable) return isClassified ? 'classifier' : 'no-condition';
  if (isFinal || forward.policy.rules.retry.maxAttempts <= 1) return 'retries-off';
  if (isRetryOfCaller(origin?.parent)) return 'retry-of-caller';
  return mayRunTwice || isRefused(status) ? undefined : 'not-idempotent';
}

/** What is decided about a failed attempt: why it is not sent again, or nothing; `not-processed` if grpc-js does so of itself. */
export type Verdict = ReturnType<RetryGate['onFailure']>;

/**
 * What grpc-js decides about an RPC without a gate: it repeats of itself what was refused, and nothing else.
 *
 * @param isRepeated - Whether it has done so: it does once.
 */
export function withoutGate(
  terms: RetryTerms,
  status: AttemptStatus,
  judgement: Judgement,
  isCommitted: boolean,
  isRepeated: boolean,
): NoRetryReason | 'not-processed' {
  if (!isCommitted && !isRepeated && isRefused(status)) return 'not-processed';
  return refusalOf(terms, status, judgement) ?? (isCommitted ? 'body-not-kept' : 'retries-off');
}

/** Why there is another attempt, where there is one. */
export function againFor(
  { forward }: RetryTerms,
  status: AttemptStatus,
  { isClassified }: Judgement,
): RetryReason {
  return isClassified ? 'classifier' : reasonOf(forward.policy, status);
}

/**
 * Why there is none. The gate is told that something may not be sent again, and not why.
 *
 * @param isKept - Whether the request can be sent again.
 * @param verdict - Of the gate, or of grpc-js.
 */
export function finalFor(
  terms: RetryTerms,
  status: AttemptStatus,
  judgement: Judgement,
  isKept: boolean,
  verdict: NoRetryReason,
): NoRetryReason {
  if (verdict !== 'no-condition') return verdict;
  return refusalOf(terms, status, judgement) ?? (isKept ? verdict : 'body-not-kept');
}
