import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createTimer, sleepOn, systemRuntime, type Timer, TimerWheel } from '../src/index.js';
import { createManualRuntime } from '../src/testing.js';

describe('TimerWheel', () => {
  it('fires each armed timer once, never early, at most one tick late, whatever is armed and disarmed', () => {
    const timers = fc.array(
      fc.record({
        delayMs: fc.integer({ min: 0, max: 9000 }),
        isDisarmed: fc.boolean(),
        rearmMs: fc.option(fc.integer({ min: 0, max: 3000 })),
      }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(timers, fc.integer({ min: 1, max: 700 }), (specs, stepMs) => {
        const tickMs = 8;
        const wheel = new TimerWheel(tickMs, 0);
        let nowMs = 0;
        const fired = new Map<number, number[]>();
        const due = new Map<number, number>();
        for (const [index, spec] of specs.entries()) {
          const timer = createTimer(() => fired.set(index, [...(fired.get(index) ?? []), nowMs]));
          wheel.arm(timer, spec.delayMs);
          if (spec.isDisarmed) wheel.disarm(timer);
          else if (spec.rearmMs !== null) wheel.arm(timer, spec.rearmMs);
          if (!spec.isDisarmed) due.set(index, spec.rearmMs ?? spec.delayMs);
        }
        while (nowMs < 10_000) {
          nowMs += stepMs;
          wheel.advance(nowMs);
        }
        expect(wheel.size).toBe(0);
        expect([...fired.keys()].sort()).toEqual([...due.keys()].sort());
        for (const [index, times] of fired) {
          expect(times).toHaveLength(1);
          const dueMs = due.get(index) ?? 0;
          expect(times[0]).toBeGreaterThanOrEqual(dueMs);
          expect(times[0]).toBeLessThanOrEqual(dueMs + 2 * tickMs + stepMs);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('lets a timer disarm another of the same slot and arm itself again', () => {
    const wheel = new TimerWheel(1, 0);
    const log: string[] = [];
    const b: Timer = createTimer(() => log.push('b'));
    let isFirst = true;
    const a: Timer = createTimer(() => {
      log.push('a');
      wheel.disarm(b);
      if (isFirst) wheel.arm(a, 512 + 5);
      isFirst = false;
    });
    wheel.arm(a, 5);
    wheel.arm(b, 5);
    wheel.advance(5);
    expect(log).toEqual(['a']);
    wheel.advance(516);
    expect(log).toEqual(['a']);
    wheel.advance(517);
    expect(log).toEqual(['a', 'a']);
  });
});

describe('sleepOn', () => {
  it('resolves on time, and rejects and disarms when aborted', async () => {
    const runtime = createManualRuntime();
    const log: string[] = [];
    const controller = new AbortController();
    void runtime.sleep(10).then(() => log.push('slept'));
    const aborted = sleepOn(runtime, 1000, controller.signal).catch((error: unknown) =>
      log.push(String(error)),
    );
    controller.abort('left');
    await aborted;
    await runtime.advance(9);
    expect(log).toEqual(['left']);
    await runtime.advance(1);
    expect(log).toEqual(['left', 'slept']);
    await expect(runtime.sleep(5, controller.signal)).rejects.toBe('left');
    expect(runtime.armed).toBe(0);
  });
});

describe('systemRuntime', () => {
  it('fires in order of due time and not before it', async () => {
    const start = systemRuntime.now();
    const order: number[] = [];
    await Promise.all([40, 5, 20].map((ms) => systemRuntime.sleep(ms).then(() => order.push(ms))));
    expect(order).toEqual([5, 20, 40]);
    expect(systemRuntime.now() - start).toBeGreaterThanOrEqual(40);
  });

  it('disarms timers beyond the span of the wheel', async () => {
    const timer = createTimer(() => {
      throw new Error('must not fire');
    });
    systemRuntime.arm(timer, 3_000_000_000);
    systemRuntime.disarm(timer);
    await systemRuntime.sleep(10);
  });
});
