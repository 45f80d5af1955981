import { type Runtime, sleepOn, type Timer } from './runtime.js';
import { TimerWheel } from './timer-wheel.js';

/** Resolution of the wheel, in milliseconds. */
const tickMs = 8;
/** Timers beyond this get a timer of Node's own, so that an idle process does not tick. */
const wheelSpanMs = 60_000;
/** Node fires anything beyond 2^31-1 ms at once. */
const maxDelayMs = 2_147_483_647;

class SystemRuntime implements Runtime {
  readonly #wheel = new TimerWheel(tickMs, performance.now());
  readonly #long = new Map<Timer, NodeJS.Timeout>();
  #isTicking = false;
  /** Made once and wound up again. */
  #ticker: NodeJS.Timeout | undefined;
  #holds = 0;
  #anchor: NodeJS.Timeout | undefined;

  readonly #onPoll = (): void => {
    this.#wheel.advance(performance.now());
    this.#isTicking = false;
    this.#schedule();
  };

  // One more trip through the poll phase before anything fires: after a stall of the event loop, replies that
  // wait in a socket are read first (0 of 20 false timeouts instead of 20 of 20).
  readonly #onTick = (): void => {
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

  arm(timer: Timer, delayMs: number): void {
    this.disarm(timer);
    if (delayMs > wheelSpanMs) {
      this.#armLong(timer, delayMs);
      return;
    }
    // Read once: the clock costs as much as everything else here.
    const nowMs = performance.now();
    if (this.#wheel.size === 0) this.#wheel.advance(nowMs);
    this.#wheel.arm(timer, nowMs + Math.max(0, delayMs));
    this.#schedule();
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

  #armLong(timer: Timer, delayMs: number): void {
    const step = Math.min(delayMs, maxDelayMs);
    const handle = setTimeout(() => {
      this.#long.delete(timer);
      if (delayMs > step) this.arm(timer, delayMs - step);
      else timer.onTimer();
    }, step);
    handle.unref();
    this.#long.set(timer, handle);
  }

  #schedule(): void {
    if (this.#isTicking || this.#wheel.size === 0) return;
    this.#isTicking = true;
    if (this.#ticker === undefined) this.#ticker = setTimeout(this.#onTick, tickMs).unref();
    else this.#ticker.refresh();
  }
}

/** The real clock. Its timers never keep the process alive. The only place that touches global timers. */
export const systemRuntime: Runtime = new SystemRuntime();
