import type {
  MeshError,
  NoRetryReason,
  Reached,
  RetryCondition,
  RetryReason,
  Runtime,
  Timer,
} from '@inmesh/core';
import type { Attempt, DrivenCall, DriverReply } from './attempt.js';
import type { CountedResult } from './attempt-counts.js';
import { finalReason } from './attempt-log.js';
import { retryAfterMs } from './backoff.js';
import type { ClusterState } from './cluster-state.js';
import {
  attemptTimeout,
  blaming,
  deadlineExceeded,
  FailedAttempt,
  headless,
  headTimeout,
  noEndpoint,
  reachedBy,
  startError,
  totalOf,
  unreachable,
} from './driver-errors.js';
import type { AttemptResult, EndpointState, Tried } from './endpoint-state.js';
import { isFine, type Judgement, judge } from './judgement.js';
import { marksOf } from './markers.js';
import { failurePenaltyMs } from './peak-ewma.js';
import type { RoutePolicy } from './route-policy.js';

/** Tries that provably never left and go to another endpoint at once: no token, no attempt, no wait. */
const freeUnsentTries = 2;
/** The same where the peer proved that it processed nothing. gRPC A6, transparent retries. */
const freeRefusedTries = 1;

type Phase =
  /** Not begun, and not counted as in flight. */
  | 'idle'
  /** An attempt is under way and its head has not come. */
  | 'attempting'
  /** Waiting before the next attempt. */
  | 'waiting'
  /** A head was delivered: nothing is sent again. */
  | 'committed'
  /** Over. */
  | 'done';

function orNever(dueMs: number | undefined): number {
  return dueMs ?? Number.POSITIVE_INFINITY;
}

/**
 * Drives one call to its end: picks endpoints, bounds time, sends again what may be sent again. Callbacks, no
 * promise, one timer. Pure: sockets are the {@link DrivenCall}'s, time is the {@link Runtime}'s.
 *
 * Gates of a retry, in order: nothing was delivered; what happened, by the conditions; the peer's own wish; the body can
 * be replayed; whether the call is idempotent; attempts left; time left; the budget. The first that is not passed is
 * noted in {@link DrivenCall.attemptLog}.
 */
export class CallDriver implements Timer {
  timerNext: Timer | undefined = undefined;
  timerPrev: Timer | undefined = undefined;
  timerDueMs = 0;
  readonly #call: DrivenCall;
  readonly #cluster: ClusterState;
  readonly #policy: RoutePolicy;
  readonly #runtime: Runtime;
  #phase: Phase = 'idle';
  #current: Attempt | undefined;
  /** Absent where there is none, as most of the time: a number that is no small integer takes heap of its own. */
  #headDueMs: number | undefined;
  #attemptDueMs: number | undefined;
  #attempts = 0;
  #unsentTries = 0;
  #refusedTries = 0;
  /** Attempts that may be followed by another, last first: where not to go again, and what they came to. */
  #tried: Tried | undefined;
  #reached: Reached = 'no';
  /** A retry that the budget paid for: it waits, or was made. */
  #retry: 'due' | 'made' | undefined;
  /** Why the attempt that is under way was made, or the next one will be. */
  #reason: RetryReason | undefined;
  /** What the head that was delivered says. */
  #result: AttemptResult = 'unknown';
  /** Why it gave up on something that could have been sent again. */
  #exhausted: NoRetryReason | undefined;

  /** @param policy - Rules of the route. */
  constructor(call: DrivenCall, cluster: ClusterState, policy: RoutePolicy, runtime: Runtime) {
    this.#call = call;
    this.#cluster = cluster;
    this.#policy = policy;
    this.#runtime = runtime;
  }

  /** Attempts that may have left this process. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Whether it gave up on something that could have been sent again: callers should not try either. */
  get isExhausted(): boolean {
    return this.#exhausted !== undefined;
  }

  /** Whether what ended it would have been sent again if its route allowed more attempts. */
  get isRetryLimitReached(): boolean {
    return this.#exhausted === 'attempts-used-up';
  }

  /** Begins. */
  start(): void {
    if (this.#isDone()) return;
    const refused = this.#cluster.admit();
    if (refused !== undefined) {
      this.#fail(refused);
      return;
    }
    this.#phase = 'attempting';
    const nowMs = this.#runtime.now();
    if (this.#call.deadlineMs <= nowMs) {
      this.#failDeadline();
      return;
    }
    const { headTimeoutMs } = this.#policy.rules;
    if (headTimeoutMs > 0) this.#headDueMs = nowMs + headTimeoutMs;
    this.#attempt(nowMs);
  }

  /** Bytes of an attempt may be leaving: from here on it may have been processed. */
  onAttemptSent(attempt: Attempt): void {
    attempt.isSent = true;
    this.#call.attemptLog?.sent();
  }

  /**
   * The head of an attempt's reply, status 200 or above, or 101.
   *
   * @returns Whether the caller gets it. If not, the adapter lets {@link Attempt.discard} do its work.
   */
  onAttemptHead(attempt: Attempt, reply: DriverReply): boolean {
    if (attempt !== this.#current || this.#phase !== 'attempting') return false;
    attempt.hasHead = true;
    attempt.isSent = true;
    const nowMs = this.#runtime.now();
    const elapsedMs = nowMs - attempt.startMs;
    const judgement = judge(reply, this.#policy, this.#cluster);
    const { result, isPenalized } = judgement;
    this.#cluster.onResult(
      attempt.endpoint,
      result,
      isPenalized ? Math.max(elapsedMs, failurePenaltyMs) : elapsedMs,
      nowMs,
    );
    if (this.#isDone()) return false;
    this.#logReply(reply, judgement);
    const reason = this.#reason;
    if (!isFine(judgement) && this.#retriesReply(attempt, reply, judgement, nowMs)) {
      // Before it is read to its end, which nobody waits for.
      this.#cluster.countAttempt(result, reason);
      attempt.discard();
      return false;
    }
    if (this.#isDone()) return false;
    this.#reached = 'maybe';
    this.#result = result;
    this.#phase = 'committed';
    // Nothing follows any more, and what ends the reply is not what ended the attempts before.
    this.#tried = undefined;
    if (this.#call.deadlineMs === Number.POSITIVE_INFINITY) this.#runtime.disarm(this);
    else this.#runtime.arm(this, Math.ceil(this.#call.deadlineMs - nowMs), nowMs);
    return true;
  }

  /** The last byte of an attempt. */
  onAttemptEnd(attempt: Attempt): void {
    if (attempt === this.#current && this.#phase === 'attempting') {
      this.onAttemptError(attempt, headless(this.#cluster.name, attempt));
      return;
    }
    if (!this.#close(attempt)) return;
    if (attempt !== this.#current || this.#phase !== 'committed') return;
    this.#count(this.#result);
    if (this.#result === 'ok') this.#cluster.budget.deposit();
    this.#finish();
  }

  /** An attempt ended without its last byte. */
  onAttemptError(attempt: Attempt, error: MeshError): void {
    if (!this.#close(attempt)) return;
    if (attempt !== this.#current || this.#phase === 'done') return;
    const nowMs = this.#runtime.now();
    const isBlamed = blaming.has(error.code);
    if (this.#phase === 'committed') {
      this.#count(isBlamed ? 'local-error' : this.#result);
      if (isBlamed) this.#cluster.onResult(attempt.endpoint, 'local-error', undefined, nowMs);
      this.#fail(error);
      return;
    }
    this.#blame(attempt, isBlamed, nowMs);
    if (unreachable.has(error.code)) this.#cluster.onUnreachable();
    const reached = reachedBy(attempt, error);
    this.#note(reached);
    this.#call.attemptLog?.failed(error.code, reached);
    this.#current = undefined;
    if (this.#isDone() || !this.#retriesError(attempt, error, nowMs)) this.#fail(error);
  }

  /** The caller gave up, or a layer did. Cuts what is under way; tells nobody. */
  cancel(reason: MeshError): void {
    if (this.#phase === 'done') return;
    const attempt = this.#current;
    if (attempt !== undefined && !attempt.isOver) this.#leave(attempt);
    this.#finish();
    if (attempt !== undefined && !attempt.isOver) attempt.abort(reason);
  }

  /** Due: the deadline, the time to the head, the attempt's own time, or the end of a wait. */
  onTimer(): void {
    const nowMs = this.#runtime.now();
    // Timers and clocks may disagree by a fraction of a millisecond.
    const dueMs = nowMs + 1;
    if (this.#call.deadlineMs <= dueMs) this.#failDeadline();
    else if (this.#phase === 'committed') this.#arm(nowMs);
    else if (orNever(this.#headDueMs) <= dueMs) this.#failHead();
    else if (this.#phase === 'waiting') this.#attempt(nowMs);
    else if (orNever(this.#attemptDueMs) > dueMs) this.#arm(nowMs);
    else this.#onAttemptTimeout(nowMs);
  }

  /** Where every endpoint was tried, a tried one is better than none. */
  #attempt(nowMs: number): void {
    this.#attemptOn(this.#pickUntried(nowMs) ?? this.#cluster.pick(nowMs), nowMs);
  }

  #attemptOn(endpoint: EndpointState | undefined, nowMs: number): void {
    if (endpoint === undefined) {
      this.#fail(noEndpoint(this.#cluster.cluster, this.#tried));
      return;
    }
    const { perTryTimeoutMs } = this.#policy.rules.retry;
    const attempt = this.#createAttempt(endpoint);
    if (attempt === undefined || this.#isDone()) return;
    this.#attempts++;
    if (this.#retry === 'due') this.#retry = 'made';
    attempt.startMs = nowMs;
    this.#leaveWait();
    this.#phase = 'attempting';
    this.#current = attempt;
    this.#call.attemptLog?.start(endpoint, this.#cluster);
    this.#attemptDueMs = perTryTimeoutMs > 0 ? nowMs + perTryTimeoutMs : undefined;
    this.#cluster.onStart(endpoint);
    this.#arm(nowMs);
    try {
      attempt.start();
    } catch (error) {
      this.onAttemptError(attempt, startError(error));
    }
  }

  #createAttempt(endpoint: EndpointState): Attempt | undefined {
    try {
      return this.#call.createAttempt(endpoint, this.#attempts + 1);
    } catch (error) {
      this.#fail(startError(error));
      return undefined;
    }
  }

  #pickUntried(nowMs: number): EndpointState | undefined {
    const tried = this.#tried;
    if (tried === undefined) return this.#cluster.pick(nowMs);
    return this.#cluster.pickUntried(nowMs, tried, this.#policy.rules.retry.repicks);
  }

  #logReply({ httpStatus, grpcStatus }: DriverReply, { isClassified }: Judgement): void {
    this.#call.attemptLog?.answered({ httpStatus, grpcStatus, isClassified });
  }

  /** @returns `false`, so that gates can end with it. */
  #refuse(reason: NoRetryReason): false {
    this.#call.attemptLog?.final(reason);
    return false;
  }

  /** As {@link #refuse}, of what could have been sent again. */
  #giveUp(reason: NoRetryReason): false {
    this.#exhausted = reason;
    return this.#refuse(reason);
  }

  /** @returns `true`, so that what lets a call go on can end with it. */
  #again(reason: RetryReason): true {
    this.#reason = reason;
    this.#call.attemptLog?.again(reason);
    return true;
  }

  #retriesReply(attempt: Attempt, reply: DriverReply, judgement: Judgement, nowMs: number): boolean {
    const marks = marksOf(reply, reply.isTrusted);
    this.#note(marks.isNotProcessed ? 'refused' : 'maybe');
    if (marks.isNotProcessed) this.#call.attemptLog?.notProcessed();
    // Passed on even if we could not repeat it ourselves: whoever called us perhaps could.
    if (marks.forbidsRetry) this.#exhausted = 'forbidden-by-peer';
    // Said already.
    if (!marks.isNotProcessed && !judgement.isRetryable) return false;
    if (marks.forbidsRetry) return this.#refuse('forbidden-by-peer');
    if (!this.#call.isReplayable) return this.#refuse('body-not-kept');
    // No object of its own: a reply says less than an error, and retries come by the thousand.
    if (attempt !== this.#tried) attempt.before = this.#tried;
    this.#tried = attempt;
    if (marks.isNotProcessed) return this.#retriesRefused(nowMs, waitOf(reply, this.#runtime));
    return this.#retriesProcessed(reply, judgement, nowMs);
  }

  #retriesProcessed(reply: DriverReply, { isClassified }: Judgement, nowMs: number): boolean {
    const { predicate, rules } = this.#policy;
    const isSafe =
      this.#call.isIdempotent || (rules.retry.nonIdempotent && predicate.names(reply.httpStatus));
    if (!isSafe) return this.#refuse('not-idempotent');
    if (this.#call.isRetryOfCaller) return this.#refuse('retry-of-caller');
    if (!this.#schedule(nowMs, waitOf(reply, this.#runtime))) return false;
    return this.#again((isClassified ? undefined : predicate.conditionOf(reply)) ?? 'classifier');
  }

  #retriesError(attempt: Attempt, error: MeshError, nowMs: number): boolean {
    if (error.retry === 'never') return this.#refuse(finalReason(error.code));
    if (!this.#call.isReplayable) return this.#refuse('body-not-kept');
    this.#tried = new FailedAttempt(attempt.endpoint, this.#tried, error);
    const { predicate } = this.#policy;
    if (error.retry === 'elsewhere') {
      // "Never left" of something that was sent is a contradiction: then the safe half of it holds.
      if (error.reached === 'no' && !attempt.isSent) return this.#retriesUnsent(nowMs);
      if (error.reached === 'refused') return this.#retriesRefused(nowMs, undefined);
    }
    if (!predicate.onReset) return this.#refuse('no-condition');
    if (!this.#call.isIdempotent) return this.#refuse('not-idempotent');
    if (this.#call.isRetryOfCaller) return this.#refuse('retry-of-caller');
    return this.#scheduleFor(predicate.resetCondition, nowMs, undefined);
  }

  /** What never left goes to another endpoint at once; when there is none, like any retry. */
  #retriesUnsent(nowMs: number): boolean {
    if (this.#unsentTries < freeUnsentTries) {
      const endpoint = this.#pickReachable(nowMs);
      if (endpoint !== undefined) {
        this.#unsentTries++;
        this.#attempts--;
        // Before the next one begins.
        this.#again('unsent');
        this.#attemptOn(endpoint, nowMs);
        return true;
      }
    }
    return this.#scheduleFor(this.#policy.predicate.connectCondition, nowMs, undefined);
  }

  /** Two that cannot be reached may be all of a priority, or of a zone: the last free try looks beyond at once. */
  #pickReachable(nowMs: number): EndpointState | undefined {
    const cluster = this.#cluster;
    const tried = this.#tried;
    const spare = (): EndpointState | undefined => cluster.pickSpare(nowMs, undefined, tried);
    const first = this.#unsentTries + 1 < freeUnsentTries ? undefined : spare();
    return first ?? this.#pickUntried(nowMs) ?? spare() ?? cluster.rescue(nowMs, undefined, tried);
  }

  #retriesRefused(nowMs: number, waitMs: number | undefined): boolean {
    if (this.#refusedTries < freeRefusedTries && (waitMs ?? 0) === 0) {
      this.#refusedTries++;
      this.#attempts--;
      this.#again('not-processed');
      // Not within the callback of the attempt that is being refused: its connection may be needed.
      this.#wait(0);
      return true;
    }
    return this.#scheduleFor(this.#policy.predicate.refusedCondition, nowMs, waitMs);
  }

  #scheduleFor(condition: RetryCondition | undefined, nowMs: number, askedMs: number | undefined): boolean {
    if (condition === undefined) return this.#refuse('no-condition');
    return this.#schedule(nowMs, askedMs) && this.#again(condition);
  }

  #schedule(nowMs: number, askedMs: number | undefined): boolean {
    const { retry } = this.#policy.rules;
    const cluster = this.#cluster;
    if (askedMs !== undefined && askedMs > retry.maxRetryAfterMs) return this.#refuse('retry-after');
    if (this.#attempts >= retry.maxAttempts)
      return retry.maxAttempts > 1 ? this.#giveUp('attempts-used-up') : this.#refuse('retries-off');
    const waitMs = Math.max(cluster.backoffMs(retry.backoff, this.#attempts), askedMs ?? 0);
    if (this.#isDone()) return false;
    const endMs = Math.min(this.#call.deadlineMs, orNever(this.#headDueMs));
    // An attempt that cannot end in time would only be load.
    if (nowMs + waitMs + cluster.typicalMs >= endMs) return this.#refuse('deadline');
    this.#releaseRetry();
    if (!cluster.tryRetry()) return this.#giveUp(cluster.retryRefusal);
    this.#retry = 'due';
    this.#wait(waitMs);
    return true;
  }

  #wait(waitMs: number): void {
    this.#phase = 'waiting';
    // No socket stands for the call meanwhile, and our timers keep no process alive.
    this.#runtime.hold?.();
    this.#current = undefined;
    // Shorter than the time that is left, or nothing: see what lets a call wait. Whole milliseconds, as with every time
    // that is armed here: a number that is no small integer takes heap of its own.
    this.#runtime.arm(this, Math.ceil(waitMs));
  }

  #arm(nowMs: number): void {
    const isWide = this.#phase === 'committed';
    const dueMs = isWide
      ? this.#call.deadlineMs
      : Math.min(this.#call.deadlineMs, orNever(this.#headDueMs), orNever(this.#attemptDueMs));
    if (dueMs === Number.POSITIVE_INFINITY) this.#runtime.disarm(this);
    else this.#runtime.arm(this, Math.ceil(dueMs - nowMs), nowMs);
  }

  #onAttemptTimeout(nowMs: number): void {
    const attempt = this.#current;
    if (attempt === undefined) return;
    const error = attemptTimeout(this.#cluster.name, attempt, this.#policy.rules.retry.perTryTimeoutMs);
    this.#blame(attempt, true, nowMs);
    this.#note(error.reached);
    this.#call.attemptLog?.failed(error.code, error.reached);
    this.#current = undefined;
    // Cut first: its connection or its place in the queue may be what the next attempt needs.
    attempt.abort(error);
    if (this.#isDone()) return;
    if (!this.#retriesError(attempt, error, nowMs)) this.#fail(error);
  }

  #failDeadline(): void {
    this.#cut(deadlineExceeded(this.#cluster.name, this.#tried));
  }

  #failHead(): void {
    this.#cut(headTimeout(this.#cluster.name, this.#policy.rules.headTimeoutMs, this.#tried));
  }

  /** Ends the call because its time is over. */
  #cut(error: MeshError): void {
    const attempt = this.#current;
    if (attempt !== undefined && !attempt.isOver) {
      if (attempt.isSent) this.#note('maybe');
      if (attempt.hasHead) this.#count(this.#result);
      else this.#blame(attempt, true, this.#runtime.now());
      this.#current = undefined;
      attempt.abort(error);
    }
    this.#fail(error);
  }

  /** Once an attempt, when it is known what it came to, and before it is known why there is another. */
  #count(result: CountedResult): void {
    this.#cluster.countAttempt(result, this.#reason);
  }

  #blame(attempt: Attempt, isBlamed: boolean, nowMs: number): void {
    const elapsedMs = nowMs - attempt.startMs;
    this.#count(isBlamed ? 'local-error' : 'unknown');
    this.#cluster.onResult(
      attempt.endpoint,
      isBlamed ? 'local-error' : 'unknown',
      isBlamed ? Math.max(elapsedMs, failurePenaltyMs) : undefined,
      nowMs,
    );
  }

  /** Asked after whatever runs foreign code, which may have cancelled the call. */
  #isDone(): boolean {
    return this.#phase === 'done';
  }

  /** The worst that any attempt came to is what the caller must know. */
  #note(reached: Reached): void {
    if (reached === 'maybe' || (reached === 'refused' && this.#reached === 'no')) this.#reached = reached;
  }

  /** Its caller does. */
  #leave({ hasHead, startMs, endpoint }: Attempt): void {
    this.#count(this.#phase === 'committed' ? this.#result : 'cancelled');
    if (hasHead) return;
    // Not a sample of its latency, except that it is at least this.
    const nowMs = this.#runtime.now();
    const elapsedMs = nowMs - startMs;
    if (elapsedMs > endpoint.costMs) this.#cluster.onResult(endpoint, 'unknown', elapsedMs, nowMs);
  }

  /** @returns Whether it was open. */
  #close(attempt: Attempt): boolean {
    if (attempt.isOver) return false;
    attempt.isOver = true;
    this.#cluster.onEnd(attempt.endpoint);
    return true;
  }

  #fail(error: MeshError): void {
    if (this.#phase === 'done') return;
    this.#finish();
    this.#call.onFailure(totalOf(error, this.#attempts + this.#unsentTries, this.#reached));
  }

  #leaveWait(): void {
    if (this.#phase === 'waiting') this.#runtime.release?.();
  }

  #finish(): void {
    this.#leaveWait();
    if (this.#phase !== 'idle') this.#cluster.activeCalls--;
    this.#phase = 'done';
    this.#runtime.disarm(this);
    this.#releaseRetry();
  }

  #releaseRetry(): void {
    if (this.#retry === undefined) return;
    const wasMade = this.#retry === 'made';
    this.#retry = undefined;
    this.#cluster.releaseRetry(wasMade);
  }
}

/** Wait that a reply asks for, in milliseconds. */
function waitOf(reply: DriverReply, runtime: Runtime): number | undefined {
  const value = reply.header('retry-after');
  return value === undefined ? undefined : retryAfterMs(value, runtime.wallMs());
}
