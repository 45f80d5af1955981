import { describe, expect, it } from 'vitest';
import { allowedRetries, RetryBudget } from '../src/index.js';

function withdrawals(budget: RetryBudget): number {
  let count = 0;
  while (count < 10_000 && budget.tryWithdraw()) count++;
  return count;
}

describe('RetryBudget', () => {
  it('starts full and gives one retry per token', () => {
    const budget = new RetryBudget({ capacity: 10, perSuccess: 0.1 });
    expect(withdrawals(budget)).toBe(10);
    expect(budget.tokens).toBe(0);
  });

  it('earns one retry with ten successes at a tenth each, rounding errors apart', () => {
    const budget = new RetryBudget({ capacity: 10, perSuccess: 0.1 });
    withdrawals(budget);
    for (let i = 0; i < 9; i++) budget.deposit();
    expect(budget.tryWithdraw()).toBe(false);
    budget.deposit();
    expect([budget.tryWithdraw(), budget.tryWithdraw()]).toEqual([true, false]);
  });

  it('never holds more than its capacity', () => {
    const budget = new RetryBudget({ capacity: 3, perSuccess: 1 });
    for (let i = 0; i < 50; i++) budget.deposit();
    expect([budget.tokens, withdrawals(budget)]).toEqual([3, 3]);
  });

  it('takes back what was not used, up to its capacity', () => {
    const budget = new RetryBudget({ capacity: 3, perSuccess: 0.5 });
    budget.tryWithdraw();
    budget.tryWithdraw();
    budget.giveBack();
    expect(budget.tokens).toBe(2);
    budget.deposit();
    budget.giveBack();
    expect(budget.tokens).toBe(3);
  });

  it('refuses everything with a capacity of 0', () => {
    const budget = new RetryBudget({ capacity: 0, perSuccess: 0.1 });
    for (let i = 0; i < 50; i++) budget.deposit();
    expect(budget.tryWithdraw()).toBe(false);
  });

  it('keeps what is saved when the rates change, as far as it fits', () => {
    const budget = new RetryBudget({ capacity: 10, perSuccess: 0.1 });
    budget.replace({ capacity: 4, perSuccess: 0.5 });
    expect(budget.tokens).toBe(4);
    budget.replace({ capacity: 100, perSuccess: 0.5 });
    expect(budget.tokens).toBe(4);
    budget.deposit();
    expect(budget.tokens).toBe(4.5);
  });
});

describe('allowedRetries', () => {
  it.each([
    [0, 3],
    [14, 3],
    [20, 4],
    [24, 4],
    [25, 5],
    [1000, 200],
  ])('allows, of %i calls at 20 %% and at least 3, %i', (inFlight, allowed) => {
    expect(allowedRetries({ budgetPercent: 20, minRetries: 3 }, inFlight)).toBe(allowed);
  });

  it('allows none with 0 % and a minimum of 0', () => {
    expect(allowedRetries({ budgetPercent: 0, minRetries: 0 }, 1000)).toBe(0);
  });
});
