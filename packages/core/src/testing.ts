import type { CallEnd } from './call.js';
import { type Runtime, sleepOn, type Timer } from './runtime.js';
import { TimerWheel } from './timer-wheel.js';

/** A {@link Runtime} whose time moves only when told. */
export interface ManualRuntime extends Runtime {
  /** Moves both clocks forward and fires what is due, one millisecond at a time; settles promises between. */
  advance(ms: number): Promise<void>;
  /** How many timers are armed. */
  readonly armed: number;
}

/**
 * Makes a {@link ManualRuntime}.
 *
 * @param options - `wallMs`: where the wall clock starts; `seed`: of the pseudo-random numbers.
 */
export function createManualRuntime(
  options: { readonly wallMs?: number; readonly seed?: number } = {},
): ManualRuntime {
  let nowMs = 0;
  const startMs = options.wallMs ?? 1_700_000_000_000;
  let state = options.seed ?? 1;
  const wheel = new TimerWheel(1, 0);
  const runtime: ManualRuntime = {
    now: () => nowMs,
    wallMs: () => startMs + nowMs,
    random() {
      // xorshift32: good enough for tests, the same on every machine.
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) / 4_294_967_296;
    },
    arm: (timer: Timer, delayMs: number) => wheel.arm(timer, nowMs + Math.max(0, delayMs)),
    disarm: (timer: Timer) => wheel.disarm(timer),
    sleep: (ms: number, signal?: AbortSignal) => sleepOn(runtime, ms, signal),
    async advance(ms) {
      for (let i = 0; i < ms; i++) {
        nowMs++;
        const before = wheel.size;
        wheel.advance(nowMs);
        // A macrotask lets whole promise chains settle; only where a timer fired.
        if (wheel.size !== before) await new Promise(setImmediate);
      }
      await new Promise(setImmediate);
    },
    get armed() {
      return wheel.size;
    },
  };
  return runtime;
}

/** A call over HTTP that ended well. */
export const okEnd: CallEnd = Object.freeze({
  status: 'ok',
  httpStatus: 200,
  error: undefined,
  isLocalReply: false,
  requestBytes: 200,
  responseBytes: 1500,
});
