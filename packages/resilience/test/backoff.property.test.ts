import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs, parseDeadline, parsePushback, retryAfterMs } from '../src/index.js';

describe('waits and what peers write of them', () => {
  it('keeps every wait within its range', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60_000 }),
        fc.integer({ min: 0, max: 3_600_000 }),
        fc.integer({ min: 1, max: 10_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (baseMs, extraMs, retry, chance) => {
          const ms = backoffMs({ baseMs, maxMs: baseMs + extraMs }, retry, () => chance);
          expect(ms).toBeGreaterThanOrEqual(0);
          expect(ms).toBeLessThanOrEqual(baseMs + extraMs);
        },
      ),
    );
  });

  it('reads any text as a finite wait or as nothing, and throws nothing', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9eE+. -]{0,14}$/));
    fc.assert(
      fc.property(text, (value) => {
        for (const ms of [retryAfterMs(value, 0), parseDeadline(value), parsePushback(value)])
          expect(ms === undefined || ms === 'stop' || (Number.isFinite(ms) && ms >= 0)).toBe(true);
      }),
    );
  });
});
