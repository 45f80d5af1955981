import {
  type BackoffRules,
  type ClusterLimits,
  type ClusterRules,
  type HeaderMatch,
  type OutlierRules,
  type RetryBudgetRules,
  type RetryConcurrencyRules,
  type RetryRules,
  type RouteRules,
  retryConditions,
  type SlowStartRules,
} from '@inmesh/core';
import {
  type Check,
  callable,
  listOf,
  number,
  objectOf,
  orCallable,
  orFalse,
  recordOf,
  text,
  truth,
  word,
} from './shape.js';

/** A value, or a part of it. */
export type Part<V> = V extends readonly unknown[] | ((...args: never[]) => unknown)
  ? V
  : V extends object
    ? string extends keyof V
      ? V
      : RulesInput<V>
    : V;

/** `false` where a value may be left out altogether. */
export type Off<V> = undefined extends V ? (NonNullable<V> extends boolean ? never : false) : never;

/**
 * A part of rules: what is left out stays as it is; `false` turns off what can be off, such as `outlier`. Lists and
 * records are replaced as a whole.
 */
export type RulesInput<T> = { readonly [K in keyof T]?: Part<NonNullable<T[K]>> | Off<T[K]> | undefined };

/** Name of a header. RFC 9110 §5.1. */
const headerName: Check = text('the name of a header', /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/);

const anyText: Check = text('text', /^/);

/** A {@link HeaderMatch}. */
export const headerMatch: Check = objectOf<HeaderMatch>(
  { name: headerName, exact: anyText, prefix: anyText, regex: anyText, present: truth, invert: truth },
  ['name'],
);

const retryRules = objectOf<RetryRules>({
  maxAttempts: number,
  conditions: listOf(word(...retryConditions)),
  statusCodes: listOf(number),
  replyHeaders: listOf(headerMatch),
  perTryTimeoutMs: number,
  backoff: orCallable(objectOf<BackoffRules>({ baseMs: number, maxMs: number })),
  maxRetryAfterMs: number,
  repicks: number,
  maxBodyBytes: number,
  nonIdempotent: truth,
});

/** Part of {@link RouteRules}: names and types; bounds are checked with the whole. */
export const routeRulesInput: Check = objectOf<RouteRules>({
  headTimeoutMs: number,
  timeoutMs: number,
  retry: retryRules,
  idempotent: truth,
  classify: orFalse(callable),
});

const outlierRules = objectOf<OutlierRules>({
  consecutive5xx: number,
  consecutiveGatewayErrors: number,
  consecutiveLocalErrors: number,
  intervalMs: number,
  baseEjectionMs: number,
  maxEjectionMs: number,
  maxEjectionPercent: number,
  alwaysEjectOne: truth,
  failurePercent: number,
  failurePercentMinHosts: number,
  failurePercentMinCalls: number,
  jitterRatio: number,
  probes: number,
});

/** Part of {@link ClusterRules}: names and types; bounds are checked with the whole. */
export const clusterRulesInput: Check = objectOf<ClusterRules>({
  balancer: word('peak-ewma', 'least-request', 'round-robin', 'random'),
  choices: number,
  slowStart: orFalse(
    objectOf<SlowStartRules>({ windowMs: number, aggression: number, minWeightPercent: number }),
  ),
  limits: objectOf<ClusterLimits>({ maxConnections: number, maxPending: number, maxRequests: number }),
  outlier: orFalse(outlierRules),
  panicPercent: number,
  overprovisioning: number,
  localityFailover: truth,
  localityWeights: orFalse(recordOf(number)),
  retryBudget: objectOf<RetryBudgetRules>({ capacity: number, perSuccess: number }),
  retryConcurrency: orFalse(objectOf<RetryConcurrencyRules>({ budgetPercent: number, minRetries: number })),
});
