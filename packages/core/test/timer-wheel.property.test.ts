import { AsyncLocalStorage } from 'node:async_hooks';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
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
          const before = fired.size;
          const { nextMs, size } = wheel;
          wheel.advance(nowMs);
          expect(nextMs < Number.POSITIVE_INFINITY).toBe(size > 0);
          if (nowMs < nextMs) expect(fired.size).toBe(before);
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

  it('fires the others where one throws, and says what was thrown', () => {
    const thrown: (() => void)[] = [];
    const later = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation((task) => void thrown.push(task));
    try {
      const wheel = new TimerWheel(1, 0);
      const log: string[] = [];
      wheel.arm(
        createTimer(() => {
          throw new Error('of a handler');
        }),
        5,
      );
      wheel.arm(
        createTimer(() => log.push('the other')),
        5,
      );
      wheel.advance(5);
      expect(log).toEqual(['the other']);
      expect(thrown).toHaveLength(1);
      expect(thrown[0]).toThrow('of a handler');
      expect(wheel.size).toBe(0);
    } finally {
      later.mockRestore();
    }
  });

  it('knows when the next one may be due', () => {
    const wheel = new TimerWheel(8, 0);
    expect(wheel.nextMs).toBe(Number.POSITIVE_INFINITY);
    const [soon, late] = [createTimer(() => {}), createTimer(() => {})];
    wheel.arm(late, 30_000);
    // A look once in a revolution.
    expect(wheel.nextMs).toBeGreaterThan(8);
    expect(wheel.nextMs).toBeLessThanOrEqual(512 * 8);
    wheel.arm(soon, 20);
    expect(wheel.nextMs).toBe(24);
    wheel.disarm(soon);
    expect(wheel.nextMs).toBeGreaterThan(24);
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

  it('lets the loop sleep until something may be due', async () => {
    const far = createTimer(() => {});
    systemRuntime.arm(far, 3500);
    const { loopCount } = performance.nodeTiming.uvMetricsInfo;
    await systemRuntime.sleep(200);
    systemRuntime.disarm(far);
    // A tick each 8 ms would be fifty.
    expect(performance.nodeTiming.uvMetricsInfo.loopCount - loopCount).toBeLessThan(25);
  });

  it('finds a timer that is armed for earlier than the one it sleeps for', async () => {
    const log: string[] = [];
    const late = createTimer(() => log.push('late'));
    systemRuntime.arm(late, 3000);
    await systemRuntime.sleep(10).then(() => log.push('soon'));
    systemRuntime.disarm(late);
    await systemRuntime.sleep(1);
    expect(log).toEqual(['soon']);
  });

  it('fires in no context of whoever armed it', async () => {
    const context = new AsyncLocalStorage<string>();
    const seen = await new Promise((resolve) => {
      context.run('of a call', () => {
        systemRuntime.arm(
          createTimer(() => resolve(context.getStore())),
          1,
        );
      });
    });
    expect(seen).toBeUndefined();
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
