import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { priorityLoad } from '../src/index.js';

describe('priorityLoad', () => {
  it('gives shares that sum to 100, and none to a level that has nobody to take them', () => {
    const level = fc
      .tuple(fc.nat(50), fc.nat(50))
      .map(([healthy, sick]) => ({ healthy, total: healthy + sick }));
    fc.assert(
      fc.property(
        fc.array(level, { maxLength: 8 }),
        fc.double({ min: 1, max: 3, noNaN: true }),
        fc.integer({ min: 0, max: 100 }),
        (levels, overprovisioning, panicPercent) => {
          const { percent, isPanicking } = priorityLoad(levels, overprovisioning, panicPercent);
          const sum = percent.reduce((a, b) => a + b, 0);
          const canServe = levels.some(({ healthy }, i) => healthy > 0 || isPanicking[i] === true);
          // A level of less than 1 % health counts as none; that alone may leave everything without a place.
          if (canServe && levels.some(({ healthy, total }) => healthy * 100 >= total && healthy > 0))
            expect(sum).toBe(100);
          for (const [i, one] of percent.entries()) {
            expect(Number.isInteger(one) && one >= 0 && one <= 100).toBe(true);
            if (levels[i]?.total === 0) expect(one).toBe(0);
            if (levels[i]?.healthy === 0 && isPanicking[i] !== true) expect(one).toBe(0);
          }
        },
      ),
    );
  });
});
