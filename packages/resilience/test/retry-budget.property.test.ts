import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RetryBudget } from '../src/index.js';

describe('RetryBudget', () => {
  it('never pays for more than its capacity and a share of the successes', () => {
    const rules = fc.record({
      capacity: fc.integer({ min: 0, max: 50 }),
      perSuccess: fc.constantFrom(0, 0.1, 0.2, 0.25, 0.5, 1),
    });
    fc.assert(
      fc.property(rules, fc.array(fc.boolean(), { maxLength: 500 }), ({ capacity, perSuccess }, events) => {
        const budget = new RetryBudget({ capacity, perSuccess });
        let successes = 0;
        let retries = 0;
        for (const isSuccess of events) {
          if (isSuccess) {
            budget.deposit();
            successes++;
          } else if (budget.tryWithdraw()) retries++;
          expect(budget.tokens).toBeGreaterThanOrEqual(0);
          expect(budget.tokens).toBeLessThanOrEqual(capacity);
        }
        expect(retries).toBeLessThanOrEqual(capacity + perSuccess * successes + 1e-6);
      }),
    );
  });
});
