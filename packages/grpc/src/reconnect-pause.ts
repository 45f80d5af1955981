/** A connection that ended sooner, and answered nothing, is a sign of trouble; in milliseconds. */
const shortMs = 1000;
/** Wait after the second one, in milliseconds; it doubles from there on. */
const baseMs = 100;
/** Longest wait, in milliseconds; the same as after connections that could not be made. */
export const maxReconnectMs = 10_000;

/** A connection from when it is made until its last stream has ended, which is after GOAWAY. */
export interface ConnectionUse {
  /** When it was made, on the monotonic clock, in milliseconds. */
  readonly sinceMs: number;
  /** Streams that are open. */
  open: number;
  /** Whether it answered anything. */
  hasAnswered: boolean;
  /** Whether it takes no more streams. */
  isOver: boolean;
}

/**
 * Says how long to wait before a connection that ended is made anew. One that lasted or answered is made anew at once,
 * and so is the first that did not. A server that sends GOAWAY on each would otherwise be asked as fast as it can shake hands:
 * grpc-js waits only after connections that could not be made.
 *
 * A connection may end while its streams are served: what it was is known when they are answered, or lost. Until then
 * none is counted, and the wait is the shortest one.
 *
 * @see {@link https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md | gRPC, connection backoff}
 */
export class ReconnectPause {
  /** Connections in a row that ended soon. */
  #short = 0;
  /** Those that ended soon, have answered nothing, and have streams. */
  readonly #served = new Set<ConnectionUse>();

  /** Connections in a row that ended soon. */
  get short(): number {
    return this.#short;
  }

  /** Whether one that ended may still answer. */
  get isOpen(): boolean {
    return this.#served.size > 0;
  }

  /** One was made. */
  onReady(nowMs: number): ConnectionUse {
    return { sinceMs: nowMs, open: 0, hasAnswered: false, isOver: false };
  }

  /** It ended. @returns how long to wait, in milliseconds, ±20 % */
  onEnd(use: ConnectionUse, nowMs: number, random: () => number): number {
    use.isOver = true;
    if (use.hasAnswered || nowMs - use.sinceMs >= shortMs) this.#short = 0;
    else if (use.open > 0) this.#served.add(use);
    else if (!this.isOpen) this.#short++;
    return this.waitMs(random);
  }

  /** It answered. @returns whether that tells what it was */
  onAnswer(use: ConnectionUse): boolean {
    use.hasAnswered = true;
    if (!this.#served.delete(use)) return false;
    this.#short = 0;
    return true;
  }

  /** A stream of it ended. @returns whether that tells what it was */
  onStreamEnd(use: ConnectionUse): boolean {
    use.open--;
    if (use.open > 0 || !this.#served.delete(use)) return false;
    this.#short++;
    return true;
  }

  /** How long to wait by what is known, in milliseconds, ±20 % */
  waitMs(random: () => number): number {
    if (this.#short < 2) return this.isOpen ? baseMs : 0;
    return Math.min(baseMs * 2 ** (this.#short - 2), maxReconnectMs) * (0.8 + 0.4 * random());
  }
}
