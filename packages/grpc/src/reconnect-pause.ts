/** A connection that ended sooner, and answered nothing, is a sign of trouble; in milliseconds. */
const shortMs = 1000;
/** Wait after the second one, in milliseconds; it doubles from there on. */
const baseMs = 100;
/** Longest wait, in milliseconds; the same as after connections that could not be made. */
export const maxReconnectMs = 10_000;

/**
 * Says how long to wait before a connection that ended is made anew. One that lasted or answered is made anew at once,
 * and so is the first that did not. A server that sends GOAWAY on each would otherwise be asked as fast as it can shake hands:
 * grpc-js waits only after connections that could not be made.
 *
 * @see {@link https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md | gRPC, connection backoff}
 */
export class ReconnectPause {
  /** Whether it answered anything. */
  hasAnswered = false;
  /** Connections in a row that ended soon. */
  #short = 0;
  #sinceMs = 0;

  /** Connections in a row that ended soon. */
  get short(): number {
    return this.#short;
  }

  /** It was made. */
  onReady(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.hasAnswered = false;
  }

  /** It ended. @returns how long to wait, in milliseconds, ±20 % */
  onEnd(nowMs: number, random: () => number): number {
    const isShort = !this.hasAnswered && nowMs - this.#sinceMs < shortMs;
    this.#short = isShort ? this.#short + 1 : 0;
    if (this.#short < 2) return 0;
    return Math.min(baseMs * 2 ** (this.#short - 2), maxReconnectMs) * (0.8 + 0.4 * random());
  }
}
