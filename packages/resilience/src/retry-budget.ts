import type { RetryBudgetRules, RetryConcurrencyRules } from '@inmesh/core';

/**
 * Pays for retries with the calls that succeed: a service that fails gets few, one that recovers is not kept down.
 * One per cluster and process, shared by every protocol.
 *
 * @see {@link https://github.com/grpc/proposal/blob/master/A6-client-retries.md | gRPC A6}, throttling; the rates follow AWS's adaptive mode
 */
export class RetryBudget {
  #rules: RetryBudgetRules;
  #tokens: number;

  /** @param rules - Rates. */
  constructor(rules: RetryBudgetRules) {
    this.#rules = rules;
    this.#tokens = rules.capacity;
  }

  /** Tokens left. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Puts other rates in force; what is saved stays, as far as it fits. */
  replace(rules: RetryBudgetRules): void {
    this.#rules = rules;
    this.#tokens = Math.min(this.#tokens, rules.capacity);
  }

  /** A call succeeded. */
  deposit(): void {
    const { capacity, perSuccess } = this.#rules;
    if (this.#tokens < capacity) this.#tokens = Math.min(capacity, this.#tokens + perSuccess);
  }

  /** Takes a token for a retry; `false` if there is none. */
  tryWithdraw(): boolean {
    // Ten deposits of a tenth are 0.9999999999999999.
    if (this.#tokens < 1 - 1e-9) return false;
    this.#tokens = Math.max(0, this.#tokens - 1);
    return true;
  }

  /** Gives back the token of a retry that was never made. */
  giveBack(): void {
    this.#tokens = Math.min(this.#rules.capacity, this.#tokens + 1);
  }
}

/**
 * Retries allowed at once. Envoy `retry_budget` without `budget_interval`: a share of the calls in flight and pending.
 *
 * @param inFlight - Calls in flight and pending.
 */
export function allowedRetries(rules: RetryConcurrencyRules, inFlight: number): number {
  return Math.max(rules.minRetries, Math.floor((rules.budgetPercent / 100) * inFlight));
}
