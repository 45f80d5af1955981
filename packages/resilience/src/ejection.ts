import type { OutlierRules } from '@inmesh/core';
import type { AttemptResult, EndpointState } from './endpoint-state.js';

/** Why an endpoint was taken out. */
export type EjectionCause =
  | 'consecutive-5xx'
  | 'consecutive-gateway-failure'
  | 'consecutive-local-origin-failure'
  | 'failed-probe'
  | 'failure-percentage';

/** Why endpoints are taken out, in words; the names are stable. */
export const ejectionCauses: Readonly<Record<EjectionCause, string>> = Object.freeze({
  'consecutive-5xx': 'It answered with so many failures in a row.',
  'consecutive-gateway-failure': 'It answered with so many of 502, 503 and 504 in a row.',
  'consecutive-local-origin-failure':
    'So many attempts in a row could not be connected, broke, or took too long.',
  'failed-probe': 'It had come back, and the first calls to it failed again.',
  'failure-percentage': 'Too large a share of its calls failed in an interval.',
});

/** How many endpoints were taken out for each cause. */
export type EjectionCounts = Readonly<Record<EjectionCause, number>>;

/** Nobody was taken out, as in most clusters. */
export const noEjections: EjectionCounts = Object.freeze({
  'consecutive-5xx': 0,
  'consecutive-gateway-failure': 0,
  'consecutive-local-origin-failure': 0,
  'failed-probe': 0,
  'failure-percentage': 0,
});

/**
 * Counts a result into an endpoint's record.
 *
 * @returns Why it should be taken out, if it should.
 */
export function countResult(
  endpoint: EndpointState,
  result: AttemptResult,
  rules: OutlierRules,
): EjectionCause | undefined {
  switch (result) {
    case 'unknown':
      return undefined;
    case 'ok':
      endpoint.successes++;
      endpoint.errorsInRow = 0;
      endpoint.gatewayErrorsInRow = 0;
      endpoint.localErrorsInRow = 0;
      return undefined;
    case 'error':
      endpoint.errorsInRow++;
      endpoint.gatewayErrorsInRow = 0;
      endpoint.localErrorsInRow = 0;
      break;
    case 'gateway-error':
      endpoint.errorsInRow++;
      endpoint.gatewayErrorsInRow++;
      endpoint.localErrorsInRow = 0;
      break;
    case 'local-error':
      // Split, as Envoy's split_external_local_origin_errors: what we saw ourselves is counted apart.
      endpoint.localErrorsInRow++;
      break;
  }
  endpoint.failures++;
  if (endpoint.isOnProbation) return 'failed-probe';
  return overLimit(endpoint, rules);
}

function overLimit(endpoint: EndpointState, rules: OutlierRules): EjectionCause | undefined {
  const isOver = (inRow: number, limit: number): boolean => limit > 0 && inRow >= limit;
  if (isOver(endpoint.errorsInRow, rules.consecutive5xx)) return 'consecutive-5xx';
  if (isOver(endpoint.gatewayErrorsInRow, rules.consecutiveGatewayErrors))
    return 'consecutive-gateway-failure';
  if (isOver(endpoint.localErrorsInRow, rules.consecutiveLocalErrors))
    return 'consecutive-local-origin-failure';
  return undefined;
}

/**
 * Whether one more endpoint may be taken out. Envoy since 1.31: the share after it must fit, except for the first
 * one where `alwaysEjectOne` holds. The only endpoint there is always stays.
 */
export function mayEject(rules: OutlierRules, ejected: number, total: number): boolean {
  if (total < 2) return false;
  if (ejected === 0 && rules.alwaysEjectOne) return true;
  return (100 * (ejected + 1)) / total <= rules.maxEjectionPercent;
}

/**
 * How long the next ejection of an endpoint lasts: base, 2 · base, 3 · base … up to the maximum, and jitter.
 *
 * @returns Milliseconds.
 */
export function ejectionMs(rules: OutlierRules, endpoint: EndpointState, random: () => number): number {
  const ms = Math.min(rules.baseEjectionMs * (endpoint.ejections + 1), rules.maxEjectionMs);
  return ms + ms * rules.jitterRatio * random();
}

/**
 * Counts an ejection. No further than the longest one: what comes after must become shorter with the first interval
 * without an ejection, as Envoy's does.
 */
export function countEjection(rules: OutlierRules, endpoint: EndpointState): void {
  if (endpoint.ejections * rules.baseEjectionMs < rules.maxEjectionMs) endpoint.ejections++;
}

/**
 * Endpoints that failed too large a share of their calls in an interval. gRPC A50 and Envoy `failure_percentage`.
 */
export function failingEndpoints(
  endpoints: readonly EndpointState[],
  rules: OutlierRules,
): readonly EndpointState[] {
  if (rules.failurePercent === 0) return [];
  const eligible = endpoints.filter(
    (one) => !one.isEjected && one.successes + one.failures >= rules.failurePercentMinCalls,
  );
  if (eligible.length < rules.failurePercentMinHosts) return [];
  return eligible.filter(
    (one) => (100 * one.failures) / (one.successes + one.failures) >= rules.failurePercent,
  );
}

/** Ends an interval: counts begin anew, and every interval without ejection makes the next one shorter. */
export function endInterval(endpoint: EndpointState, intervals: number): void {
  endpoint.successes = 0;
  endpoint.failures = 0;
  if (!endpoint.isEjected) endpoint.ejections = Math.max(0, endpoint.ejections - intervals);
}
