import type { BalancerName, ClusterRules, OutlierRules } from '@inmesh/core';
import type { RulesInput } from '../rules-input.js';
import { type Cursor, durationAt } from './read.js';

/** What a rule says of a cluster, as far as it says something. */
export type ClusterPart = RulesInput<ClusterRules>;

/** What Istio calls balancers. `UNSPECIFIED` leaves it to the settings. */
const balancers: Readonly<Record<string, BalancerName>> = {
  LEAST_CONN: 'least-request',
  LEAST_REQUEST: 'least-request',
  RANDOM: 'random',
  ROUND_ROBIN: 'round-robin',
};

/** A number within bounds. */
function bounded(at: Cursor, min: number, max: number): number | undefined {
  const { number } = at;
  if (number === undefined || (number >= min && number <= max)) return number;
  return at.wrong(`${number} is not from ${min} to ${max}`);
}

const most = 4_294_967_295;

function poolPart(at: Cursor): ClusterPart {
  const http = at.at('http');
  const maxRetries = bounded(http.at('maxRetries'), 1, 1_000_000);
  const limits = {
    maxConnections: bounded(at.at('tcp').at('maxConnections'), 1, most),
    maxPending: bounded(http.at('http1MaxPendingRequests'), 0, most),
    maxRequests: bounded(http.at('http2MaxRequests'), 1, most),
  };
  return {
    ...(Object.values(limits).every((one) => one === undefined) ? {} : { limits }),
    // Envoy's circuit breaker for retries: so many at once, whatever the load.
    ...(maxRetries === undefined ? {} : { retryConcurrency: { budgetPercent: 0, minRetries: maxRetries } }),
  };
}

function balancerPart(at: Cursor): ClusterPart {
  const warmup = at.at('warmup');
  const seconds = at.at('warmupDurationSecs');
  const balancer = balancers[at.at('simple').text ?? ''];
  const localityFailover = at.at('localityLbSetting').at('enabled').truth;
  const slowStart = warmup.isThere ? warmupPart(warmup) : warmupPart(seconds, seconds);
  if (warmup.isThere && seconds.isThere) seconds.wrong('give warmup or warmupDurationSecs, not both');
  return {
    ...(balancer === undefined ? {} : { balancer }),
    ...(localityFailover === undefined ? {} : { localityFailover }),
    ...(slowStart === undefined ? {} : { slowStart }),
  };
}

/** Istio's defaults: a line, from 10 %. */
function warmupPart(at: Cursor, duration = at.at('duration')): ClusterPart['slowStart'] {
  if (!at.isThere) return undefined;
  if (!duration.isThere) return at.wrong('a warmup has a "duration"');
  const windowMs = durationAt(duration, 1);
  if (windowMs === undefined) return undefined;
  return {
    windowMs,
    aggression: bounded(at.at('aggression'), 1, 1000) ?? 1,
    minWeightPercent: bounded(at.at('minimumPercent'), 0, 100) ?? 10,
  };
}

/** Istio's defaults where detection is configured: replies of 5xx five in a row, a tenth of the endpoints, no panic. */
function outlierPart(at: Cursor): ClusterPart {
  if (!at.isThere) return {};
  const isSplit = at.at('splitExternalLocalOriginErrors').truth ?? false;
  const local = at.at('consecutiveLocalOriginFailures');
  if (local.isThere && !isSplit) local.wrong('it says nothing without splitExternalLocalOriginErrors: true');
  const consecutive5xx = bounded(at.at('consecutive5xxErrors'), 0, 1_000_000) ?? 5;
  const baseEjectionMs = durationAt(at.at('baseEjectionTime'), 1) ?? 30_000;
  const outlier: Partial<OutlierRules> = {
    consecutive5xx,
    consecutiveGatewayErrors: bounded(at.at('consecutiveGatewayErrors'), 0, 1_000_000) ?? 0,
    // Envoy counts them among the 5xx unless they are split off.
    consecutiveLocalErrors: isSplit ? (bounded(local, 0, 1_000_000) ?? 5) : consecutive5xx,
    intervalMs: durationAt(at.at('interval'), 1) ?? 10_000,
    baseEjectionMs,
    maxEjectionMs: Math.max(300_000, baseEjectionMs),
    maxEjectionPercent: bounded(at.at('maxEjectionPercent'), 0, 100) ?? 10,
    failurePercent: 0,
  };
  return { outlier, panicPercent: bounded(at.at('minHealthPercent'), 0, 100) ?? 0 };
}

function budgetPart(at: Cursor, pool: Cursor): ClusterPart {
  if (!at.isThere) return {};
  // Envoy takes the budget and leaves the other out; so one of them would say nothing.
  const maxRetries = pool.at('http').at('maxRetries');
  if (maxRetries.isThere) maxRetries.wrong('it says nothing beside retryBudget: remove one');
  return {
    retryConcurrency: {
      budgetPercent: bounded(at.at('percent'), 0, 100) ?? 20,
      minRetries: bounded(at.at('minRetryConcurrency'), 0, 1_000_000) ?? 3,
    },
  };
}

/** Fields of a traffic policy, each from the narrowest that says it; as Istio does with those of subsets. */
export function clusterPartOf(policies: readonly Cursor[]): ClusterPart {
  const field = (name: string): Cursor => {
    const last = policies.map((one) => one.at(name));
    return last.findLast((one) => one.isThere) ?? policies[0]?.at(name) ?? nowhere();
  };
  const pool = field('connectionPool');
  return {
    ...poolPart(pool),
    ...balancerPart(field('loadBalancer')),
    ...outlierPart(field('outlierDetection')),
    ...budgetPart(field('retryBudget'), pool),
  };
}

function nowhere(): never {
  throw new Error('invariant: a traffic policy of nothing');
}
