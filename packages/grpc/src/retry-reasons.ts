import type { NoRetryReason } from '@inmesh/core';
import { type AttemptLog, type Forward, isRetryOfCaller } from '@inmesh/resilience';
import type { CallOrigin } from './call-origin.js';
import { errorCodeOf } from './call-status.js';
import { type AttemptStatus, isRefused, type Judgement, reasonOf } from './outcome.js';

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

/**
 * Notes why there is another attempt, or none.
 *
 * @param isKept - Whether the request can be sent again.
 * @param verdict - Of the gate.
 */
export function logVerdict(
  log: AttemptLog,
  terms: RetryTerms,
  status: AttemptStatus,
  judgement: Judgement,
  isKept: boolean,
  verdict: NoRetryReason | 'not-processed' | undefined,
): void {
  if (verdict === undefined)
    log.again(judgement.isClassified ? 'classifier' : reasonOf(terms.forward.policy, status));
  else if (verdict === 'not-processed') log.again('not-processed');
  else if (verdict !== 'no-condition') log.final(verdict);
  else log.final(refusalOf(terms, status, judgement) ?? (isKept ? verdict : 'body-not-kept'));
}

/** The same, of an RPC without a gate: grpc-js repeats once of itself what was refused, and nothing else. */
export function logWithoutGate(
  log: AttemptLog,
  terms: RetryTerms,
  status: AttemptStatus,
  judgement: Judgement,
  isCommitted: boolean,
): void {
  const isFree = !isCommitted && isRefused(status);
  if (isFree && !log.attempts.some(({ retried }) => retried === 'not-processed')) log.again('not-processed');
  else log.final(refusalOf(terms, status, judgement) ?? (isCommitted ? 'body-not-kept' : 'retries-off'));
}
