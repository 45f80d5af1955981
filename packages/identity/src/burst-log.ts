import { createTimer, type LogFields, type Logger, type Runtime, type Timer } from '@inmesh/core';

/** A burst is over when nothing of it has come for this long. */
const quietMs = 10_000;

interface Burst {
  count: number;
  lastMs: number;
  readonly timer: Timer;
}

/** Warns when something starts to repeat, and says how often it did when it has stopped: callers must not fill logs. */
export class BurstLog {
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  readonly #bursts = new Map<string, Burst>();

  /** @param logger - Where the two lines of a burst go. */
  constructor(runtime: Runtime, logger: Logger) {
    this.#runtime = runtime;
    this.#logger = logger;
  }

  /** Same as {@link Logger.warn}, but only the first of a burst is logged. */
  warn(fields: LogFields, message: string): void {
    const now = this.#runtime.now();
    const known = this.#bursts.get(message);
    if (known !== undefined) {
      known.count++;
      known.lastMs = now;
      return;
    }
    const burst: Burst = { count: 1, lastMs: now, timer: createTimer(() => this.#look(message, burst)) };
    this.#bursts.set(message, burst);
    this.#logger.warn(fields, message);
    this.#runtime.arm(burst.timer, quietMs);
  }

  /** Disarms its timers. */
  close(): void {
    for (const { timer } of this.#bursts.values()) this.#runtime.disarm(timer);
    this.#bursts.clear();
  }

  #look(message: string, burst: Burst): void {
    const leftMs = burst.lastMs + quietMs - this.#runtime.now();
    if (leftMs > 0) {
      this.#runtime.arm(burst.timer, leftMs);
      return;
    }
    this.#bursts.delete(message);
    if (burst.count > 1) this.#logger.info({ what: message, count: burst.count }, 'burst is over');
  }
}
