import type { AttemptReply, MeshError } from '@inmesh/core';
import type { AttemptLog } from './attempt-log.js';
import type { EndpointState, Tried } from './endpoint-state.js';

/** The head of a reply, as the {@link CallDriver} wants it. */
export interface DriverReply extends AttemptReply {
  /** Whether the peer proved an identity that we expected. */
  readonly isTrusted: boolean;
}

/**
 * One try on one endpoint. The adapter's per-attempt object implements it, so that an attempt is one object. The
 * adapter reports to the driver: `onAttemptSent`, `onAttemptHead`, and exactly one of `onAttemptEnd` and
 * `onAttemptError`, also after {@link abort} and {@link discard}.
 */
export interface Attempt {
  /** Where it goes. */
  readonly endpoint: EndpointState;
  /** When it began; owned by the driver, start with 0. */
  startMs: number;
  /** Whether its head came; owned by the driver, start with `false`. */
  hasHead: boolean;
  /** Whether bytes of it may have left; owned by the driver, start with `false`. */
  isSent: boolean;
  /** What was tried before it; owned by the driver, start with `undefined`. */
  before: Tried | undefined;
  /** Whether its last event came; owned by the driver, start with `false`. */
  isOver: boolean;
  /** Sends it. May report at once, may throw: then nothing was sent. */
  start(): void;
  /** Cuts it. */
  abort(reason: MeshError): void;
  /** Nobody wants its reply: read it to its end within bounds, or cut it. */
  discard(): void;
}

/** How a call is sent. Adapters implement it; the driver decides when. */
export interface Transport {
  /**
   * Makes an attempt, without sending it yet.
   *
   * @param number - 1 for the first; tries that never left do not count.
   */
  createAttempt(endpoint: EndpointState, number: number): Attempt;
}

/** The call that a {@link CallDriver} drives; the adapter's per-call object implements it. */
export interface DrivenCall extends Transport {
  /** Absolute end, in milliseconds of the runtime; `Infinity` if none. */
  readonly deadlineMs: number;
  /** Whether the request can be sent again from its first byte. */
  readonly isReplayable: boolean;
  /** Whether it may be sent twice: by its method, a key, or its route. */
  readonly isIdempotent: boolean;
  /** Whether only what provably reached nobody may be sent again: we are a retry of somebody's already. */
  readonly isRetryOfCaller: boolean;
  /** Notes what comes of attempts, where somebody wants to know. */
  readonly attemptLog?: AttemptLog | undefined;
  /** The call failed for good; told once, and nothing afterwards. */
  onFailure(error: MeshError): void;
}
