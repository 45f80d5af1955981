export type { Attempt, DrivenCall, DriverReply, Transport } from './attempt.js';
export { type AttemptCount, attemptResults, type CountedResult } from './attempt-counts.js';
export { AttemptLog, type EndpointChoice, type LoggedReply, openAttemptLog } from './attempt-log.js';
export { backoffMs, type Pushback, parsePushback, retryAfterMs } from './backoff.js';
export {
  type Balancer,
  type BalancerFactory,
  type BalancerInput,
  balancersByName,
  leastRequest,
  peakEwma,
  randomPick,
  roundRobin,
} from './balancers.js';
export { CallDriver } from './call-driver.js';
export type { ClusterParts, ClusterStats } from './cluster-parts.js';
export { ClusterState } from './cluster-state.js';
export { Clusters } from './clusters.js';
export { deadline, deadlineHeader, formatDeadline, outboundDeadlineMs, parseDeadline } from './deadline.js';
export { noEndpoint, totalOf } from './driver-errors.js';
export { type EjectionCause, type EjectionCounts, ejectionCauses } from './ejection.js';
export {
  type AttemptResult,
  EndpointState,
  endpointKey,
  type Tried,
  unknownCostMs,
} from './endpoint-state.js';
export { classify } from './judgement.js';
export { markedFrom, markerHeaders, marksOf, nackHeader, noRetryHeader, type ReplyMarks } from './markers.js';
export { failurePenaltyMs, observeLatency } from './peak-ewma.js';
export {
  type LevelHealth,
  localityDistance,
  localityWeight,
  type PriorityLoad,
  priorityLoad,
} from './priority-load.js';
export { rampFactor } from './ramp.js';
export type { Accepts } from './repick.js';
export { allowedRetries, RetryBudget } from './retry-budget.js';
export {
  defaultRetryConditions,
  isIdempotentMethod,
  parseRetryOn,
  type RetryOn,
  RetryPredicate,
  retryConditions,
} from './retry-conditions.js';
export {
  attemptHeader,
  forbidsRetry,
  grpcAttemptHeader,
  isRetryOfCaller,
  markExhausted,
  retryGuard,
} from './retry-guard.js';
export { type RoutePolicy, routePolicy } from './route-policy.js';
export {
  type Answer,
  editHeaders,
  type Forward,
  type Routed,
  type RoutedRequest,
  RouteTable,
} from './route-table.js';
export { type Forwarded, Router, type RouterResult } from './router.js';
export {
  checkClusterRules,
  checkRouteRules,
  defaultBackoff,
  defaultClusterRules,
  defaultOutlierRules,
  defaultRetryRules,
  defaultRouteRules,
  recoveryRamp,
} from './rules.js';
export type { HeaderSource } from './text-match.js';
