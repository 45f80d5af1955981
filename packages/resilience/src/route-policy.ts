import type { RouteRules } from '@inmesh/core';
import { RetryPredicate } from './retry-conditions.js';

/** {@link RouteRules} in the form that calls use. */
export interface RoutePolicy {
  /** As configured. */
  readonly rules: RouteRules;
  /** When to send again. */
  readonly predicate: RetryPredicate;
}

const compiled = new WeakMap<RouteRules, RoutePolicy>();

/** Compiles rules; the same rules give the same policy. */
export function routePolicy(rules: RouteRules): RoutePolicy {
  let policy = compiled.get(rules);
  if (policy === undefined) {
    policy = Object.freeze({ rules, predicate: new RetryPredicate(rules.retry) });
    compiled.set(rules, policy);
  }
  return policy;
}
