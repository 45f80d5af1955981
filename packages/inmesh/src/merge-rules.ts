import type { RulesInput } from '@inmesh/config';
import type {
  ClusterRules,
  RetryConcurrencyRules,
  RetryCondition,
  RetryRules,
  RouteRules,
} from '@inmesh/core';
import { defaultBackoff, defaultOutlierRules, recoveryRamp } from '@inmesh/resilience';

/** Envoy's. */
const defaultRetryConcurrency: RetryConcurrencyRules = Object.freeze({ budgetPercent: 20, minRetries: 3 });
/** Envoy's: bounds of waits are at most ten times the first. */
const maxToBase = 10;

type Fields<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** `base` with what `part` says; `undefined` says nothing. */
function overlay<T extends object>(base: T, part: Fields<T> = {}): T {
  const given = Object.entries(part).filter(([, value]) => value !== undefined);
  return given.length === 0 ? base : Object.freeze({ ...base, ...Object.fromEntries<unknown>(given) });
}

/** The same for what can be off: `false` turns it off, and a part turns it on. */
function overlayOptional<T extends object>(
  base: T | undefined,
  fallback: T,
  part: Fields<T> | false | undefined,
): T | undefined {
  if (part === undefined) return base;
  return part === false ? undefined : overlay(base ?? fallback, part);
}

function mergeBackoff(
  base: RetryRules['backoff'],
  part: RulesInput<RetryRules>['backoff'],
): RetryRules['backoff'] {
  if (part === undefined) return base;
  if (typeof part === 'function') return part;
  const { baseMs, maxMs } = part;
  const before = typeof base === 'function' ? defaultBackoff : base;
  return baseMs === undefined
    ? overlay(before, { maxMs })
    : Object.freeze({ baseMs, maxMs: maxMs ?? baseMs * maxToBase });
}

/**
 * Conditions, and those that the statuses and headers next to them stand for: without them they would say nothing.
 * As Istio does with statuses in `retryOn`.
 */
function mergeConditions(
  base: RetryRules['conditions'],
  { conditions, statusCodes = [], replyHeaders = [] }: RulesInput<RetryRules>,
): RetryRules['conditions'] | undefined {
  const before = conditions ?? base;
  const implied: RetryCondition[] = [];
  if (statusCodes.length > 0) implied.push('retriable-status-codes');
  if (replyHeaders.length > 0) implied.push('retriable-headers');
  const missing = implied.filter((one) => !before.includes(one));
  return missing.length === 0 ? conditions : Object.freeze([...before, ...missing]);
}

function mergeRetryRules(base: RetryRules, part: RulesInput<RetryRules> = {}): RetryRules {
  const { backoff, ...plain } = part;
  return overlay<RetryRules>(base, {
    ...plain,
    conditions: mergeConditions(base.conditions, part),
    backoff: backoff === undefined ? undefined : mergeBackoff(base.backoff, backoff),
  });
}

/** Rules for calls with what `part` says; the same object if it says nothing. */
export function mergeRouteRules(base: RouteRules, part: RulesInput<RouteRules> = {}): RouteRules {
  const { retry, classify, ...plain } = part;
  const merged = overlay<RouteRules>(base, {
    ...plain,
    retry: retry === undefined ? undefined : mergeRetryRules(base.retry, retry),
    classify: classify === false ? undefined : classify,
  });
  return classify === false ? Object.freeze({ ...merged, classify: undefined }) : merged;
}

/** Rules of a cluster with what `part` says; a part of what is off by default turns it on. */
export function mergeClusterRules(base: ClusterRules, part: RulesInput<ClusterRules> = {}): ClusterRules {
  const { slowStart, limits, outlier, localityWeights, retryBudget, retryConcurrency, ...plain } = part;
  const weights = localityWeights === false ? undefined : (localityWeights ?? base.localityWeights);
  return Object.freeze({
    ...overlay<ClusterRules>(base, plain),
    limits: overlay(base.limits, limits),
    slowStart: overlayOptional(base.slowStart, recoveryRamp, slowStart),
    outlier: overlayOptional(base.outlier, defaultOutlierRules, outlier),
    localityWeights: weights,
    retryBudget: overlay(base.retryBudget, retryBudget),
    retryConcurrency: overlayOptional(base.retryConcurrency, defaultRetryConcurrency, retryConcurrency),
  });
}
