import { AsyncResource } from 'node:async_hooks';
import { type Runtime, sleepOn, type Timer } from './runtime.js';
import { TimerWheel } from './timer-wheel.js';

/** Resolution of the wheel, in milliseconds. */
const tickMs = 8;
/** Timers beyond this get a timer of Node's own, so that an idle process does not tick. */
const wheelSpanMs = 60_000;
/** Node fires anything beyond 2^31-1 ms at once. */
const maxDelayMs = 2_147_483_647;

/** See {@link systemRuntime}, the only one outside of tests. */
export class SystemRuntime implements Runtime {
  readonly #wheel = new TimerWheel(tickMs, performance.now());
  readonly #long = new Map<Timer, NodeJS.Timeout>();
  /** Wakes the loop for the wheel; in no call's context, whoever armed what it is for. */
  readonly #scope = new AsyncResource('InmeshTimers', { requireManualDestroy: true });
  #waking: NodeJS.Timeout | undefined;
  /** When it does, on the monotonic clock; in the past while it is at work. */
  #wakeMs = Number.POSITIVE_INFINITY;
  #holds = 0;
  #anchor: NodeJS.Timeout | undefined;

  readonly #onPoll = (): void => {
    this.#wheel.advance(performance.now());
    this.#wakeMs = Number.POSITIVE_INFINITY;
    const { nextMs } = this.#wheel;
    // The clock again: what was due may have taken its time.
    if (nextMs < this.#wakeMs) this.#wakeAt(nextMs, performance.now());
  };

  // One more trip through the poll phase before anything fires: after a stall of the event loop, replies that
  // wait in a socket are read first (0 of 20 false timeouts instead of 20 of 20).
  readonly #onWake = (): void => {
    setImmediate(this.#onPoll);
  };

  now(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  random(): number {
    return Math.random();
  }

  arm(timer: Timer, delayMs: number, nowMs = performance.now()): void {
    this.disarm(timer);
    if (delayMs > wheelSpanMs) {
      this.#armLong(timer, delayMs, nowMs + delayMs);
      return;
    }
    if (this.#wheel.size === 0) this.#wheel.advance(nowMs);
    this.#wheel.arm(timer, nowMs + Math.max(0, delayMs));
    // A later one is found when that wakes. Most are: deadlines, disarmed long before.
    if (timer.timerDueMs < this.#wakeMs) this.#wakeAt(timer.timerDueMs, nowMs);
  }

  disarm(timer: Timer): void {
    this.#wheel.disarm(timer);
    if (this.#long.size === 0) return;
    const handle = this.#long.get(timer);
    if (handle === undefined) return;
    clearTimeout(handle);
    this.#long.delete(timer);
  }

  hold(): void {
    if (this.#holds++ > 0) return;
    this.#anchor ??= setInterval(() => {}, maxDelayMs);
    this.#anchor.ref();
  }

  release(): void {
    if (--this.#holds === 0) this.#anchor?.unref();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  /** Its last milliseconds are spent in the wheel: no timer of Node's waits for the poll phase, and it may be early. */
  #armLong(timer: Timer, delayMs: number, dueMs: number): void {
    const onDue = (): void => {
      this.#long.delete(timer);
      this.arm(timer, dueMs - performance.now());
    };
    this.#long.set(timer, this.#setTimeout(onDue, Math.min(delayMs, maxDelayMs)));
  }

  /** An idle loop sleeps until something may be due: to wake it costs more than a call's own timers do. */
  #wakeAt(wakeMs: number, nowMs: number): void {
    clearTimeout(this.#waking);
    this.#wakeMs = wakeMs;
    // Node fires up to a millisecond early.
    const delayMs = Math.ceil(wakeMs - nowMs) + 1;
    this.#waking = this.#setTimeout(this.#onWake, delayMs);
  }

  #setTimeout(run: () => void, delayMs: number): NodeJS.Timeout {
    return this.#scope.runInAsyncScope(setTimeout, undefined, run, delayMs).unref();
  }
}

/** The real clock. Its timers never keep the process alive. The only place that touches global timers. */
export const systemRuntime: Runtime = new SystemRuntime();
