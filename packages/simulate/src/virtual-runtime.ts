import { type Runtime, sleepOn, type Timer } from '@inmesh/core';
import { type Event, EventQueue } from './event-queue.js';
import { createRandom } from './random.js';

/** A {@link Runtime} whose time jumps from one event to the next; everything happens in one turn. */
export class VirtualRuntime implements Runtime {
  readonly #queue = new EventQueue();
  readonly #armed = new Map<Timer, Event>();
  readonly #random: () => number;
  #nowMs = 0;

  /** @param seed - Of the random numbers. */
  constructor(seed: number) {
    this.#random = createRandom(seed);
  }

  now(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  random(): number {
    return this.#random();
  }

  arm(timer: Timer, delayMs: number): void {
    this.disarm(timer);
    const event = this.#queue.add(this.#nowMs + Math.max(0, delayMs), () => {
      this.#armed.delete(timer);
      timer.onTimer();
    });
    this.#armed.set(timer, event);
  }

  disarm(timer: Timer): void {
    const event = this.#armed.get(timer);
    if (event === undefined) return;
    // It stays in the queue without its deed: taking it out would cost more.
    event.run = undefined;
    this.#armed.delete(timer);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  /** Runs something after a while. */
  after(delayMs: number, run: () => void): void {
    this.#queue.add(this.#nowMs + delayMs, run);
  }

  /** Lets everything happen that is due until then, what it brings about included. */
  runUntil(untilMs: number): void {
    for (;;) {
      if (this.#queue.firstMs > untilMs) break;
      const event = this.#queue.take();
      if (event === undefined) break;
      this.#nowMs = event.dueMs;
      event.run?.();
    }
    if (Number.isFinite(untilMs)) this.#nowMs = untilMs;
  }

  /** Lets everything happen until nothing is left. */
  runAll(): void {
    this.runUntil(Number.POSITIVE_INFINITY);
  }
}
