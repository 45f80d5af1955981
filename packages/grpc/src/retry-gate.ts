import type { Metadata } from '@grpc/grpc-js';
import type { NoRetryReason } from '@inmesh/core';
import { type ClusterState, grpcAttemptHeader, parsePushback, type RoutePolicy } from '@inmesh/resilience';

/** Trailer by which a server asks to wait, or to stop. gRPC A6. */
export const pushbackHeader = 'grpc-retry-pushback-ms';

/** What a timer of Node can wait, in milliseconds; it takes more for nothing. */
const longestTimerMs = 2_147_483_647;

/** A failed attempt, before grpc-js sees it. */
export interface Failure {
  /** Its trailers. */
  readonly metadata: Metadata;
  /** Whether the peer proved that no handler saw it. */
  readonly isRefused: boolean;
  /** Whether the route wants it sent again. */
  readonly isRetryable: boolean;
  /** Now. */
  readonly nowMs: number;
  /** When the RPC must be over, or have a head. */
  readonly endMs: number;
}

/**
 * Decides about the retries of one RPC. grpc-js drives them: it waits and sends again whatever its policy names. What
 * must not be sent again is told to it in the words of the protocol, a negative pushback, so that it gives the real
 * status to the caller at once; the caller does not see our word. Pushback that cannot be read stops as well, which
 * grpc-js would take for 0.
 *
 * @see {@link https://github.com/grpc/proposal/blob/master/A6-client-retries.md | gRPC A6}
 */
export class RetryGate {
  readonly #cluster: ClusterState;
  readonly #policy: RoutePolicy;
  readonly #maxAttempts: number;
  /** Attempts that were let through, the first included; those that grpc-js repeats by itself do not count. */
  #attempts = 1;
  #hasRefused = false;
  /** Why it gave up on something that could have been sent again. */
  #exhausted: NoRetryReason | undefined;
  /** A retry that the budget paid for: it waits, or is on the wire. */
  #retry: 'due' | 'made' | undefined;
  /** Trailers in which we say when, or never. */
  #written: Metadata | undefined;
  /** What the peer had said there. */
  #said: string | undefined;

  /** @param maxAttempts - That grpc-js makes, 2 or more: without a policy it decides everything itself. */
  constructor(cluster: ClusterState, policy: RoutePolicy, maxAttempts: number) {
    this.#cluster = cluster;
    this.#policy = policy;
    this.#maxAttempts = maxAttempts;
  }

  /** Whether it gave up on something that could have been sent again: callers should not begin anew. */
  get isExhausted(): boolean {
    return this.#exhausted !== undefined;
  }

  /** Whether what ended the RPC would have been sent again if its route allowed more attempts. */
  get isRetryLimitReached(): boolean {
    return this.#exhausted === 'attempts-used-up';
  }

  /**
   * An attempt failed before its head.
   *
   * @returns Why it is not sent again; `undefined` if it is, `not-processed` if grpc-js does so of itself.
   */
  onFailure(failure: Failure): NoRetryReason | 'not-processed' | undefined {
    this.onStart();
    this.#release();
    if (failure.isRefused && !this.#hasRefused) {
      // Once, grpc-js sends it again whatever we say: nobody has seen it.
      this.#hasRefused = true;
      return 'not-processed';
    }
    const reason = this.#refusalOf(failure);
    if (reason !== undefined) this.forbid(failure.metadata);
    return reason;
  }

  /**
   * A later attempt is picked. One that failed before it had an endpoint did not come by here.
   *
   * @returns Whether it may be made.
   */
  onPick(metadata: Metadata): boolean {
    const retries = Number(metadata.get(grpcAttemptHeader)[0] ?? 0);
    if (retries < this.#attempts) return true;
    this.#attempts = retries + 1;
    // Another one follows it.
    this.onStart();
    return this.#withdraw();
  }

  /** An attempt is on the wire: what was withdrawn for it is spent. */
  onStart(): void {
    if (this.#retry === 'due') this.#retry = 'made';
  }

  /** Makes grpc-js stop. */
  forbid(metadata: Metadata): void {
    this.#say(metadata, '-1');
  }

  /**
   * The RPC has ended; gives back what it holds, the token of a retry that it did not wait for included, and to the
   * final status what its peer said.
   */
  close(metadata: Metadata): void {
    this.#release();
    if (metadata !== this.#written) return;
    if (this.#said === undefined) metadata.remove(pushbackHeader);
    else metadata.set(pushbackHeader, this.#said);
  }

  #refusalOf({ metadata, isRetryable, nowMs, endMs }: Failure): NoRetryReason | undefined {
    const { retry } = this.#policy.rules;
    const pushback = parsePushback(metadata.get(pushbackHeader)[0]?.toString());
    if (pushback === 'stop') {
      this.#exhausted = 'forbidden-by-peer';
      return isRetryable ? 'forbidden-by-peer' : 'no-condition';
    }
    if (!isRetryable) return 'no-condition';
    if ((pushback ?? 0) > retry.maxRetryAfterMs) return 'retry-after';
    if (this.#attempts >= this.#maxAttempts) {
      this.#exhausted = 'attempts-used-up';
      return this.#exhausted;
    }
    const { backoff } = retry;
    // grpc-js draws its waits itself, from numbers; it is told those of a function as if the peer had asked for them.
    const ownMs =
      typeof backoff === 'function' ? this.#cluster.backoffMs(backoff, this.#attempts) : undefined;
    const waitMs = Math.max(ownMs ?? 0, pushback ?? 0);
    // An attempt that cannot end in time would only be load.
    if (nowMs + waitMs + this.#cluster.typicalMs >= endMs) return 'deadline';
    if (!this.#withdraw()) return this.#cluster.retryRefusal;
    this.#attempts++;
    if (ownMs !== undefined) this.#say(metadata, String(Math.min(Math.ceil(waitMs), longestTimerMs)));
    return undefined;
  }

  #say(metadata: Metadata, pushback: string): void {
    this.#written = metadata;
    this.#said = metadata.get(pushbackHeader)[0]?.toString();
    metadata.set(pushbackHeader, pushback);
  }

  #withdraw(): boolean {
    this.#release();
    if (!this.#cluster.tryRetry()) {
      this.#exhausted = this.#cluster.retryRefusal;
      return false;
    }
    this.#retry = 'due';
    return true;
  }

  #release(): void {
    if (this.#retry === undefined) return;
    const wasMade = this.#retry === 'made';
    this.#retry = undefined;
    this.#cluster.releaseRetry(wasMade);
  }
}
