/**
 * A timer that its owner embeds: arming allocates nothing. Subclassing is not needed; any object with these
 * fields will do. The runtime owns `timerNext`, `timerPrev` and `timerDueMs`.
 */
export interface Timer {
  /** Called once when the timer is due. Must not throw. */
  onTimer(): void;
  /** Link, owned by the runtime; start with `undefined`. */
  timerNext: Timer | undefined;
  /** Link, owned by the runtime; start with `undefined`. */
  timerPrev: Timer | undefined;
  /** Due time, owned by the runtime; start with 0. */
  timerDueMs: number;
}

/** Time and chance, injected everywhere, so that tests own both. */
export interface Runtime {
  /** Monotonic clock, in milliseconds. */
  now(): number;
  /** Wall clock, in milliseconds since 1970; for certificates and logs only. */
  wallMs(): number;
  /** Uniform in [0, 1). */
  random(): number;
  /**
   * Arms `timer`, again if it was armed. It fires at the earliest after `delayMs` and after one poll phase of
   * the event loop, so that a reply that already waits in a socket wins against its timeout.
   *
   * @param delayMs - Milliseconds; a value below 0 counts as 0.
   * @param nowMs - {@link now}, where it was just read: to read it costs more than to arm. @defaultValue it is read
   */
  arm(timer: Timer, delayMs: number, nowMs?: number): void;
  /** Disarms `timer`; harmless if it is not armed. */
  disarm(timer: Timer): void;
  /** Keeps the process alive until {@link release}; counted. For work that only a timer continues. */
  hold?(): void;
  /** Takes one {@link hold} back. */
  release?(): void;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when that aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** A {@link Timer} that calls `callback`. */
export function createTimer(callback: () => void): Timer {
  return { onTimer: callback, timerNext: undefined, timerPrev: undefined, timerDueMs: 0 };
}

/** {@link Runtime.sleep} in terms of {@link Runtime.arm}, for every runtime. */
export function sleepOn(
  runtime: Pick<Runtime, 'arm' | 'disarm'>,
  ms: number,
  signal?: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      runtime.disarm(timer);
      reject(signal?.reason as Error);
    };
    const timer = createTimer(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
    runtime.arm(timer, ms);
  });
}
