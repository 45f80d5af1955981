import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createTimer, type Timer } from '../src/index.js';
import { SystemRuntime } from '../src/system-runtime.js';

/** What a handle of node's is used for. */
interface Handle {
  unref(): Handle;
}

interface Waiting extends Handle {
  readonly dueMs: number;
  readonly run: () => void;
}

/** An event loop as node's: timers, then what is polled, then immediates. A timer may fire up to a millisecond early. */
class Loop {
  nowMs = performance.now() + 1000;
  readonly #timers = new Set<Waiting>();
  #immediates: (() => void)[] = [];
  /** Runs in the poll phase. */
  polled: (() => void)[] = [];
  /** How much too early the next timer fires, in milliseconds. */
  earlyMs = 0;
  turns = 0;

  readonly setTimeout = (run: () => void, delayMs: number): Handle => {
    const timer: Waiting = { dueMs: this.nowMs + Math.max(1, delayMs), run, unref: () => timer };
    this.#timers.add(timer);
    return timer;
  };

  readonly clearTimeout = (timer: Waiting): void => void this.#timers.delete(timer);

  readonly setImmediate = (run: () => void): void => void this.#immediates.push(run);

  get pending(): number {
    return this.#timers.size;
  }

  /** One turn, after having slept until there was something to do, or until `endMs`. */
  turn(endMs: number): void {
    this.turns++;
    const next = Math.min(...[...this.#timers].map(({ dueMs }) => dueMs - this.earlyMs), endMs);
    this.nowMs = Math.max(this.nowMs, next);
    for (const timer of this.#timers) {
      if (timer.dueMs - this.earlyMs > this.nowMs) continue;
      this.#timers.delete(timer);
      timer.run();
    }
    for (const run of this.polled.splice(0)) run();
    for (const run of this.#immediates.splice(0)) run();
  }

  run(ms: number): void {
    const endMs = this.nowMs + ms;
    do this.turn(endMs);
    while (this.nowMs < endMs || this.#immediates.length > 0);
  }
}

const timerCount = 6;

/** A tick of the wheel, the millisecond that node may be early by, and rounding. */
const lateMs = 8 + 3;

const delay = fc.oneof(
  fc.integer({ min: -5, max: 40 }),
  fc.integer({ min: 4060, max: 4130 }),
  fc.integer({ min: 0, max: 9000 }),
  fc.constantFrom(59_999, 60_000, 60_001, 70_000.5),
  fc.double({ min: 0, max: 50, noNaN: true }),
);
const stall = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 60 }), fc.integer({ min: 3000, max: 9000 }));
const which = fc.nat(timerCount - 1);

/** What is done between turns, in the poll phase, or by a timer that fires. */
type Step =
  | { readonly kind: 'arm'; readonly timer: number; readonly delayMs: number }
  | { readonly kind: 'disarm'; readonly timer: number }
  | { readonly kind: 'stall'; readonly ms: number }
  | { readonly kind: 'throw' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('arm' as const), timer: which, delayMs: delay }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('disarm' as const), timer: which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stall' as const), ms: stall }) },
);
const steps = fc.array(step, { maxLength: 4 });

const scene = fc.record({
  turns: fc.array(fc.record({ steps, inPoll: fc.boolean(), runMs: fc.oneof(fc.nat(30), fc.nat(9000)) }), {
    minLength: 1,
    maxLength: 8,
  }),
  /** By timer, what each firing does; nothing once the list is used up. */
  firings: fc.array(
    fc.array(fc.array(fc.oneof(step, fc.constant<Step>({ kind: 'throw' })), { maxLength: 3 }), {
      maxLength: 4,
    }),
    {
      minLength: timerCount,
      maxLength: timerCount,
    },
  ),
  earlyMs: fc.constantFrom(0, 0.5, 1),
});

describe('SystemRuntime', () => {
  let loop: Loop;
  /** Not the one that others share: its clock goes wherever it likes. */
  let runtime: SystemRuntime;
  const thrown: (() => void)[] = [];

  beforeAll(() => {
    loop = new Loop();
    vi.spyOn(performance, 'now').mockImplementation(() => loop.nowMs);
    vi.stubGlobal('setTimeout', loop.setTimeout);
    vi.stubGlobal('clearTimeout', loop.clearTimeout);
    vi.stubGlobal('setImmediate', loop.setImmediate);
    vi.stubGlobal('queueMicrotask', (run: () => void) => thrown.push(run));
  });
  afterAll(() => {
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });

  it('fires each timer once, never early, and a tick late at most while the loop is free', () => {
    fc.assert(
      fc.property(scene, ({ turns, firings, earlyMs }) => {
        runtime = new SystemRuntime();
        loop.earlyMs = earlyMs;
        thrown.length = 0;
        /** When each timer is due; those that are not armed have none. */
        const due = new Map<number, number>();
        const stalls: { readonly fromMs: number; readonly toMs: number }[] = [];
        const left = firings.map((one) => [...one]);
        let throws = 0;
        const timers: Timer[] = [];
        const perform = (one: Step): void => {
          const timer = one.kind === 'arm' || one.kind === 'disarm' ? timers[one.timer] : undefined;
          switch (one.kind) {
            case 'arm':
              if (timer === undefined) return;
              due.set(one.timer, loop.nowMs + Math.max(0, one.delayMs));
              runtime.arm(timer, one.delayMs);
              return;
            case 'disarm':
              if (timer === undefined) return;
              due.delete(one.timer);
              runtime.disarm(timer);
              return;
            case 'stall':
              stalls.push({ fromMs: loop.nowMs, toMs: loop.nowMs + one.ms });
              loop.nowMs += one.ms;
              return;
            case 'throw':
              throws++;
              throw new Error('of a callback');
          }
        };
        const check = (dueMs: number): void => {
          const stalled = stalls.reduce(
            (sum, { fromMs, toMs }) =>
              sum + Math.max(0, Math.min(toMs, loop.nowMs) - Math.max(fromMs, dueMs - lateMs)),
            0,
          );
          expect(loop.nowMs - dueMs).toBeLessThanOrEqual(lateMs + stalled);
        };
        for (let i = 0; i < timerCount; i++)
          timers.push(
            createTimer(() => {
              const dueMs = due.get(i);
              expect(dueMs).toBeDefined();
              expect(loop.nowMs).toBeGreaterThanOrEqual(dueMs ?? 0);
              check(dueMs ?? 0);
              due.delete(i);
              for (const one of left[i]?.shift() ?? []) perform(one);
            }),
          );
        const play = (): void => {
          for (const turn of turns) {
            const act = (): void => {
              for (const one of turn.steps) perform(one);
            };
            if (turn.inPoll) loop.polled.push(act);
            else act();
            loop.run(turn.runMs);
          }
          while (due.size > 0) {
            loop.run(1000);
            for (const dueMs of due.values()) check(dueMs);
          }
          for (const rethrow of thrown) expect(rethrow).toThrow('of a callback');
          expect(thrown).toHaveLength(throws);
        };
        try {
          play();
        } finally {
          for (const timer of timers) runtime.disarm(timer);
          loop.run(100_000);
        }
        // Nothing wakes an idle loop.
        expect(loop.pending).toBe(0);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([20, 61_000])('reads what waits in a socket before a timer of %i ms fires, after a stall', (ms) => {
    runtime = new SystemRuntime();
    loop.earlyMs = 0;
    const log: string[] = [];
    const timer = createTimer(() => log.push('timeout'));
    runtime.arm(timer, ms);
    loop.nowMs += ms + 500;
    loop.polled.push(() => {
      log.push('reply');
      runtime.disarm(timer);
    });
    loop.run(1000);
    expect(log).toEqual(['reply']);
  });
});
