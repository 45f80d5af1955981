import {
  type BackoffRules,
  type BalancerName,
  type ClusterRules,
  MeshError,
  type OutlierRules,
  type RetryRules,
  type RouteRules,
  type SlowStartRules,
} from '@inmesh/core';
import { defaultRetryConditions, retryConditions } from './retry-conditions.js';

/** Waits unless configured: Envoy's. */
export const defaultBackoff: BackoffRules = Object.freeze({ baseMs: 25, maxMs: 250 });

/** Retries unless configured: Istio's two, for what is safe. */
export const defaultRetryRules: RetryRules = Object.freeze({
  maxAttempts: 3,
  conditions: defaultRetryConditions,
  statusCodes: Object.freeze([]),
  replyHeaders: Object.freeze([]),
  perTryTimeoutMs: 0,
  backoff: defaultBackoff,
  maxRetryAfterMs: 300_000,
  repicks: 5,
  maxBodyBytes: 65_536,
  nonIdempotent: false,
});

/** What holds for calls unless configured. */
export const defaultRouteRules: RouteRules = Object.freeze({
  headTimeoutMs: 15_000,
  timeoutMs: 0,
  retry: defaultRetryRules,
  idempotent: undefined,
  classify: undefined,
});

/** Ejection unless configured. */
export const defaultOutlierRules: OutlierRules = Object.freeze({
  consecutive5xx: 5,
  consecutiveGatewayErrors: 5,
  consecutiveLocalErrors: 5,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 50,
  alwaysEjectOne: true,
  failurePercent: 85,
  failurePercentMinHosts: 5,
  failurePercentMinCalls: 50,
  jitterRatio: 0.1,
  probes: 1,
});

/** What holds for clusters unless configured. */
export const defaultClusterRules: ClusterRules = Object.freeze({
  balancer: 'peak-ewma',
  choices: 2,
  slowStart: undefined,
  limits: Object.freeze({ maxConnections: 1024, maxPending: 1024, maxRequests: 1024 }),
  outlier: defaultOutlierRules,
  panicPercent: 50,
  overprovisioning: 1.4,
  localityFailover: true,
  localityWeights: undefined,
  retryBudget: Object.freeze({ capacity: 10, perSuccess: 0.1 }),
  retryConcurrency: undefined,
});

/** Slow start of an endpoint that comes back from an ejection, where none is configured. */
export const recoveryRamp: SlowStartRules = Object.freeze({
  windowMs: 10_000,
  aggression: 1,
  minWeightPercent: 10,
});

function fail(what: string, value: unknown, allowed: string): never {
  throw new MeshError('INMESH_ERR_CONFIG_INVALID', `${what} is ${String(value)}; ${allowed}`);
}

function checkNumber(what: string, value: number, min: number, max: number, isWhole = false): void {
  const isFine =
    Number.isFinite(value) && value >= min && value <= max && (!isWhole || Number.isInteger(value));
  if (!isFine) fail(what, value, `it must be a${isWhole ? ' whole' : ''} number from ${min} to ${max}`);
}

const hourMs = 3_600_000;

/**
 * Checks rules that were put together in code or from a file.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID` naming the rule, its value and what is allowed.
 */
export function checkRouteRules(rules: RouteRules, where: string): void {
  const { retry } = rules;
  checkNumber(`${where}: headTimeoutMs`, rules.headTimeoutMs, 0, 24 * hourMs);
  checkNumber(`${where}: timeoutMs`, rules.timeoutMs, 0, 24 * hourMs);
  checkNumber(`${where}: retry.maxAttempts`, retry.maxAttempts, 1, 10, true);
  checkNumber(`${where}: retry.perTryTimeoutMs`, retry.perTryTimeoutMs, 0, hourMs);
  checkNumber(`${where}: retry.maxRetryAfterMs`, retry.maxRetryAfterMs, 0, hourMs);
  checkNumber(`${where}: retry.repicks`, retry.repicks, 0, 100, true);
  checkNumber(`${where}: retry.maxBodyBytes`, retry.maxBodyBytes, 0, 16 * 1024 * 1024, true);
  if (retry.conditions.includes('retriable-headers') && retry.replyHeaders.length === 0)
    throw new MeshError(
      'INMESH_ERR_CONFIG_INVALID',
      `${where}: retry.conditions has retriable-headers, and retry.replyHeaders is empty: it never holds; name headers or leave it out`,
    );
  for (const status of retry.statusCodes) checkNumber(`${where}: retry.statusCodes`, status, 200, 599, true);
  const known: ReadonlySet<string> = new Set(retryConditions);
  for (const condition of retry.conditions)
    if (!known.has(condition))
      fail(`${where}: retry.conditions`, condition, `there are ${[...known].join(', ')}`);
  if (retry.nonIdempotent && !retry.conditions.includes('retriable-status-codes'))
    fail(
      `${where}: retry.nonIdempotent`,
      true,
      'it needs retriable-status-codes and the statuses that are safe to repeat',
    );
  if (typeof retry.backoff !== 'function') {
    const { baseMs, maxMs } = retry.backoff;
    checkNumber(`${where}: retry.backoff.baseMs`, baseMs, 1, 60_000);
    checkNumber(`${where}: retry.backoff.maxMs`, maxMs, baseMs, hourMs);
  }
}

const balancers: readonly BalancerName[] = ['peak-ewma', 'least-request', 'round-robin', 'random'];

function checkOutlierRules(rules: OutlierRules, where: string): void {
  for (const name of ['consecutive5xx', 'consecutiveGatewayErrors', 'consecutiveLocalErrors'] as const)
    checkNumber(`${where}: outlier.${name}`, rules[name], 0, 1_000_000, true);
  checkNumber(`${where}: outlier.intervalMs`, rules.intervalMs, 1, hourMs);
  checkNumber(`${where}: outlier.baseEjectionMs`, rules.baseEjectionMs, 1, hourMs);
  checkNumber(`${where}: outlier.maxEjectionMs`, rules.maxEjectionMs, rules.baseEjectionMs, 24 * hourMs);
  checkNumber(`${where}: outlier.maxEjectionPercent`, rules.maxEjectionPercent, 0, 100);
  checkNumber(`${where}: outlier.failurePercent`, rules.failurePercent, 0, 100);
  checkNumber(`${where}: outlier.failurePercentMinHosts`, rules.failurePercentMinHosts, 1, 1_000_000, true);
  checkNumber(`${where}: outlier.failurePercentMinCalls`, rules.failurePercentMinCalls, 1, 1_000_000, true);
  checkNumber(`${where}: outlier.jitterRatio`, rules.jitterRatio, 0, 1);
  checkNumber(`${where}: outlier.probes`, rules.probes, 1, 1000, true);
}

/**
 * Checks rules of a cluster.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID` naming the rule, its value and what is allowed.
 */
export function checkClusterRules(rules: ClusterRules, where: string): void {
  const { limits, outlier, slowStart, retryBudget, retryConcurrency } = rules;
  if (!balancers.includes(rules.balancer))
    fail(`${where}: balancer`, rules.balancer, `there are ${balancers.join(', ')}`);
  checkNumber(`${where}: choices`, rules.choices, 2, 10, true);
  for (const name of ['maxConnections', 'maxPending', 'maxRequests'] as const)
    checkNumber(`${where}: limits.${name}`, limits[name], name === 'maxPending' ? 0 : 1, 4_294_967_295, true);
  checkNumber(`${where}: panicPercent`, rules.panicPercent, 0, 100);
  checkNumber(`${where}: overprovisioning`, rules.overprovisioning, 1, 100);
  checkNumber(`${where}: retryBudget.capacity`, retryBudget.capacity, 0, 1000);
  checkNumber(`${where}: retryBudget.perSuccess`, retryBudget.perSuccess, 0, 1);
  if (outlier !== undefined) checkOutlierRules(outlier, where);
  if (slowStart !== undefined) {
    checkNumber(`${where}: slowStart.windowMs`, slowStart.windowMs, 1, hourMs);
    checkNumber(`${where}: slowStart.aggression`, slowStart.aggression, 0.001, 1000);
    checkNumber(`${where}: slowStart.minWeightPercent`, slowStart.minWeightPercent, 0, 100);
  }
  if (retryConcurrency !== undefined) {
    checkNumber(`${where}: retryConcurrency.budgetPercent`, retryConcurrency.budgetPercent, 0, 100);
    checkNumber(`${where}: retryConcurrency.minRetries`, retryConcurrency.minRetries, 0, 1_000_000, true);
  }
  for (const [locality, weight] of Object.entries(rules.localityWeights ?? {}))
    checkNumber(`${where}: localityWeights["${locality}"]`, weight, 0, 1_000_000);
}
