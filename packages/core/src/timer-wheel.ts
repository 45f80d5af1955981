import type { Timer } from './runtime.js';

/** Slots of the wheel; a power of two. */
const slotCount = 512;

/**
 * Hashed timer wheel: arming and disarming are a few pointer writes, no allocation.
 * Pure: the owner says what time it is.
 */
export class TimerWheel {
  readonly #tickMs: number;
  readonly #slots: Timer[];
  #count = 0;
  #tick: number;

  /**
   * @param tickMs - Resolution, in milliseconds; a timer fires at most one tick late.
   * @param nowMs - The time at which the wheel starts.
   */
  constructor(tickMs: number, nowMs: number) {
    this.#tickMs = tickMs;
    this.#tick = Math.floor(nowMs / tickMs);
    this.#slots = Array.from({ length: slotCount }, () => {
      const head: Timer = { onTimer: () => {}, timerNext: undefined, timerPrev: undefined, timerDueMs: 0 };
      head.timerNext = head;
      head.timerPrev = head;
      return head;
    });
  }

  /** Number of armed timers. */
  get size(): number {
    return this.#count;
  }

  /** When the next timer may be due, within one revolution: none is due before. `Infinity` if none is armed. */
  get nextMs(): number {
    if (this.#count === 0) return Number.POSITIVE_INFINITY;
    for (let ahead = 1; ahead < slotCount; ahead++) {
      const head = this.#slots[(this.#tick + ahead) & (slotCount - 1)];
      if (head?.timerNext !== head) return (this.#tick + ahead) * this.#tickMs;
    }
    return (this.#tick + slotCount) * this.#tickMs;
  }

  /** Arms `timer` for the absolute time `dueMs`; re-arms it if it is armed. */
  arm(timer: Timer, dueMs: number): void {
    this.disarm(timer);
    // Rounded up: never early. The slot of the current tick has been emptied already, so at least one ahead.
    const tick = Math.max(Math.ceil(dueMs / this.#tickMs), this.#tick + 1);
    const head = this.#slots[tick & (slotCount - 1)];
    if (head === undefined) return;
    timer.timerDueMs = tick * this.#tickMs;
    const last = head.timerPrev ?? head;
    timer.timerPrev = last;
    timer.timerNext = head;
    last.timerNext = timer;
    head.timerPrev = timer;
    this.#count++;
  }

  /** Disarms `timer`; harmless if it is not armed. */
  disarm(timer: Timer): void {
    const { timerNext: next, timerPrev: previous } = timer;
    if (next === undefined || previous === undefined) return;
    previous.timerNext = next;
    next.timerPrev = previous;
    timer.timerNext = undefined;
    timer.timerPrev = undefined;
    this.#count--;
  }

  /**
   * Fires everything due at `nowMs`. A timer may arm or disarm any timer, itself included.
   */
  advance(nowMs: number): void {
    const target = Math.floor(nowMs / this.#tickMs);
    // After a stall of more than one revolution every slot is visited once; due times decide.
    if (target - this.#tick > slotCount) this.#tick = target - slotCount;
    // Not counted: a timer may advance further, and what it armed then must not be passed by.
    while (this.#tick < target) {
      this.#tick++;
      this.#fire(this.#tick & (slotCount - 1), nowMs);
    }
  }

  #fire(slot: number, nowMs: number): void {
    const head = this.#slots[slot];
    if (head === undefined || head.timerNext === head) return;
    // Moved to a list of its own first: what a callback arms into this slot waits for the next revolution.
    const due: Timer = { onTimer: () => {}, timerNext: undefined, timerPrev: undefined, timerDueMs: 0 };
    due.timerNext = due;
    due.timerPrev = due;
    for (let timer = head.timerNext; timer !== undefined && timer !== head; ) {
      const next = timer.timerNext;
      if (timer.timerDueMs <= nowMs) {
        this.disarm(timer);
        this.#append(due, timer);
      }
      timer = next;
    }
    for (let timer = due.timerNext; timer !== undefined && timer !== due; timer = due.timerNext) {
      this.disarm(timer);
      try {
        timer.onTimer();
      } catch (error) {
        // The others are somebody else's. An application that goes on after it would have no deadlines any more.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  #append(head: Timer, timer: Timer): void {
    const last = head.timerPrev ?? head;
    timer.timerPrev = last;
    timer.timerNext = head;
    last.timerNext = timer;
    head.timerPrev = timer;
    this.#count++;
  }
}
