import type { Origin } from './policy.js';

/**
 * When a call may be sent again. Names and meanings are Envoy's `retry_on` and `retry_grpc_on`.
 *
 * @see {@link https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on | x-envoy-retry-on}
 */
export type RetryCondition =
  | '5xx'
  | 'cancelled'
  | 'connect-failure'
  | 'deadline-exceeded'
  | 'envoy-ratelimited'
  | 'gateway-error'
  | 'internal'
  | 'refused-stream'
  | 'reset'
  | 'reset-before-request'
  | 'resource-exhausted'
  | 'retriable-4xx'
  | 'retriable-headers'
  | 'retriable-status-codes'
  | 'unavailable';

/** Compares one text; exactly one of the fields is set. */
export interface TextMatch {
  /** Equal. */
  readonly exact?: string;
  /** Begins with it. */
  readonly prefix?: string;
  /** Matches it as a whole. Anchored at both ends, as RE2 `full_match`. */
  readonly regex?: string;
}

/** A header that must match, or must not. */
export interface HeaderMatch extends TextMatch {
  /** Name, any case. */
  readonly name: string;
  /** `true`: there is such a header; used when no text is compared. */
  readonly present?: boolean;
  /** Turns the result around. @defaultValue false */
  readonly invert?: boolean;
}

/** A query parameter that must match. */
export interface QueryMatch extends TextMatch {
  /** Name. */
  readonly name: string;
  /** `true`: there is such a parameter; used when no text is compared. */
  readonly present?: boolean;
}

/** A path that must match; exactly one of the fields is set. */
export interface PathMatch extends TextMatch {
  /** Begins with these whole segments: `/v1` matches `/v1` and `/v1/x`, not `/v10`. Gateway API `PathPrefix`. */
  readonly segments?: string;
}

/** What a call must look like; everything given must match. */
export interface RouteMatch {
  /** Path without query. @defaultValue any */
  readonly path?: PathMatch;
  /** Methods, ORed. @defaultValue any */
  readonly methods?: readonly string[];
  /** Headers, ANDed. @defaultValue any */
  readonly headers?: readonly HeaderMatch[];
  /** Query parameters, ANDed. @defaultValue any */
  readonly query?: readonly QueryMatch[];
}

/** Changes of headers, in the order set, add, remove. */
export interface HeaderEdits {
  /** Replaces every line of a name. */
  readonly set?: Readonly<Record<string, string>>;
  /** Adds a line. */
  readonly add?: Readonly<Record<string, string>>;
  /** Removes every line of a name. */
  readonly remove?: readonly string[];
}

/** A share of a route's calls. */
export interface RouteBackend {
  /** Cluster name. */
  readonly cluster: string;
  /** Share of the sum of weights; 0 gets none. @defaultValue 1 */
  readonly weight?: number;
  /** Changes of the request's headers. */
  readonly request?: HeaderEdits;
  /** Changes of the reply's headers. */
  readonly response?: HeaderEdits;
}

/** Changes of what is asked for. */
export interface Rewrite {
  /** Replaces the whole path; the query stays. */
  readonly path?: string;
  /** Replaces what `path.prefix` or `path.segments` of the match found. */
  readonly prefix?: string;
  /** Replaces the authority. */
  readonly authority?: string;
}

/** Sends calls on to clusters. */
export interface ForwardAction {
  /** Tells the actions apart. */
  readonly kind: 'forward';
  /** Where to; a call stays with its backend through all attempts. */
  readonly backends: readonly RouteBackend[];
  /** Changes of what is asked for. */
  readonly rewrite?: Rewrite;
}

/** Answers with a redirect. gRPC calls end with `unavailable`. */
export interface RedirectAction {
  /** Tells the actions apart. */
  readonly kind: 'redirect';
  /** Status. @defaultValue 301 */
  readonly status?: 301 | 302 | 303 | 307 | 308;
  /** Scheme of the new location. @defaultValue that of the request */
  readonly scheme?: 'http' | 'https';
  /** Authority of the new location. @defaultValue that of the request */
  readonly authority?: string;
  /** Path of the new location; the query stays. @defaultValue that of the request */
  readonly path?: string;
  /** Replaces what the match found of the path. */
  readonly prefix?: string;
}

/** Answers by itself. */
export interface DirectAction {
  /** Tells the actions apart. */
  readonly kind: 'direct';
  /** HTTP status, 200 to 599. */
  readonly status: number;
  /** Body. @defaultValue empty */
  readonly body?: string;
}

/** What a route does with a call. */
export type RouteAction = DirectAction | ForwardAction | RedirectAction;

/** Waits between attempts: full jitter, uniform in [0, min(base · 2^(n-1), max)). */
export interface BackoffRules {
  /** Bound of the first wait, in milliseconds. Envoy `base_interval`. Range 1 to 60 000. */
  readonly baseMs: number;
  /** Bound of every wait, in milliseconds. Envoy `max_interval`. */
  readonly maxMs: number;
}

/** A wait of your own. @param retry - 1 for the first. @returns milliseconds */
export type Backoff = (retry: number, random: () => number) => number;

/** What an attempt came to, for a {@link Classifier}. */
export interface AttemptReply {
  /** HTTP status; 200 for a gRPC reply with messages. */
  readonly httpStatus: number;
  /** gRPC status number, where the reply tells it. */
  readonly grpcStatus: number | undefined;
  /** First value of a reply header. */
  header(name: string): string | undefined;
}

/** What a {@link Classifier} makes of a reply: fine, a failure of the endpoint, or one that may be sent again. */
export type ReplyClass = 'failure' | 'retryable' | 'success';

/** Judges replies in place of the conditions; `undefined` leaves it to them. */
export type Classifier = (reply: AttemptReply) => ReplyClass | undefined;

/** How often and when a call is sent again. */
export interface RetryRules {
  /** Attempts in all, the first included. 1 never retries. Range 1 to 10. Envoy `num_retries` + 1. */
  readonly maxAttempts: number;
  /** When. @see {@link RetryCondition} */
  readonly conditions: readonly RetryCondition[];
  /** HTTP statuses for `retriable-status-codes`. */
  readonly statusCodes: readonly number[];
  /** Reply headers for `retriable-headers`; any one. */
  readonly replyHeaders: readonly HeaderMatch[];
  /** Bound on one attempt until its head, in milliseconds; 0 is none. Envoy `per_try_timeout`. */
  readonly perTryTimeoutMs: number;
  /** Waits between attempts. */
  readonly backoff: Backoff | BackoffRules;
  /** Longest wait that `Retry-After` may ask for, in milliseconds. Envoy `max_interval` of rate-limited backoff. */
  readonly maxRetryAfterMs: number;
  /** How often an endpoint that was tried already is picked anew. Istio `host_selection_retry_max_attempts`. */
  readonly repicks: number;
  /** What is kept of a streamed body for another attempt, in bytes; over gRPC, of the messages that the caller streams. */
  readonly maxBodyBytes: number;
  /** Whether calls that are not idempotent are sent again on a status of `statusCodes`. Never on a broken connection. */
  readonly nonIdempotent: boolean;
}

/** What holds for the calls of a route. */
export interface RouteRules {
  /** Bound on the time to the head of the reply, over all attempts, in milliseconds; 0 is none. Local: it does not travel. */
  readonly headTimeoutMs: number;
  /** Bound on the whole call, in milliseconds; 0 is none. Travels as the deadline. Envoy `timeout`. */
  readonly timeoutMs: number;
  /** Retries. */
  readonly retry: RetryRules;
  /** Whether calls may be sent twice whatever their method; `undefined` goes by the method. */
  readonly idempotent: boolean | undefined;
  /** Judges replies. */
  readonly classify: Classifier | undefined;
}

/** Where some calls of a name go. */
export interface Route {
  /** For logs. */
  readonly name: string;
  /** Alternatives; none match everything. */
  readonly matches: readonly RouteMatch[];
  /** What happens. */
  readonly action: RouteAction;
  /** What holds. */
  readonly rules: RouteRules;
  /** Changes of the request's headers, before the backend's. */
  readonly request?: HeaderEdits;
  /** Changes of the reply's headers, after the backend's. */
  readonly response?: HeaderEdits;
  /** Where it stands. */
  readonly origin: Origin;
}

/** Bounds of a cluster; what goes beyond fails at once and is never retried. Defaults are Envoy's. */
export interface ClusterLimits {
  /** Connections to all endpoints; each may always have one, and channels of gRPC have no more. Envoy `max_connections`. */
  readonly maxConnections: number;
  /** Calls that wait for a connection. Envoy `max_pending_requests`. */
  readonly maxPending: number;
  /** Calls in flight, to their last byte. Envoy `max_requests`. */
  readonly maxRequests: number;
}

/** When an endpoint is taken out of balancing. Names and defaults follow Envoy's `outlier_detection` where it has them. */
export interface OutlierRules {
  /** 5xx replies in a row; 0 is off. Envoy `consecutive_5xx`. */
  readonly consecutive5xx: number;
  /** 502, 503 and 504 in a row; 0 is off. Envoy `consecutive_gateway_failure`. */
  readonly consecutiveGatewayErrors: number;
  /** Failed connections, resets and timeouts in a row; 0 is off. Envoy `consecutive_local_origin_failure`. */
  readonly consecutiveLocalErrors: number;
  /** Time between sweeps, in milliseconds. Envoy `interval`. */
  readonly intervalMs: number;
  /** First ejection, in milliseconds; grows with each further one. Envoy `base_ejection_time`. */
  readonly baseEjectionMs: number;
  /** Longest ejection, in milliseconds. Envoy `max_ejection_time`. */
  readonly maxEjectionMs: number;
  /** Largest share of endpoints that may be out at once, 0 to 100. Envoy `max_ejection_percent`. */
  readonly maxEjectionPercent: number;
  /** Whether one of two or more endpoints may be ejected whatever the share. Envoy `always_eject_one_host`. */
  readonly alwaysEjectOne: boolean;
  /** Share of failures in an interval that ejects, 0 to 100; 0 is off. Envoy `failure_percentage_threshold`. */
  readonly failurePercent: number;
  /** Endpoints that must have enough calls for it. Envoy `failure_percentage_minimum_hosts`. */
  readonly failurePercentMinHosts: number;
  /** Calls that are enough. Envoy `failure_percentage_request_volume`. */
  readonly failurePercentMinCalls: number;
  /** Random part of an ejection, as a share of it, 0 to 1. */
  readonly jitterRatio: number;
  /** Calls that an endpoint gets at once after an ejection, until one succeeds. */
  readonly probes: number;
}

/** How an endpoint's share grows after it joined. Envoy `slow_start_config`. */
export interface SlowStartRules {
  /** How long, in milliseconds. */
  readonly windowMs: number;
  /** Form of the curve: 1 is a line, above grows faster at first. Envoy `aggression`. */
  readonly aggression: number;
  /** Least share, 0 to 100. Envoy `min_weight_percent`. */
  readonly minWeightPercent: number;
}

/** Tokens that pay for retries, filled by calls that succeed. */
export interface RetryBudgetRules {
  /** Tokens at most, and at the start. A retry costs 1. */
  readonly capacity: number;
  /** Tokens for each call that succeeds. */
  readonly perSuccess: number;
}

/** Retries at once, beside the budget. Envoy `retry_budget`. */
export interface RetryConcurrencyRules {
  /** Share of calls in flight and pending, 0 to 100. Envoy `budget_percent`. */
  readonly budgetPercent: number;
  /** Retries that are always allowed. Envoy `min_retry_concurrency`. */
  readonly minRetries: number;
}

/** Balancers by name. */
export type BalancerName = 'least-request' | 'peak-ewma' | 'random' | 'round-robin';

/** What holds for a cluster, whichever route leads there. */
export interface ClusterRules {
  /** How an endpoint is picked. */
  readonly balancer: BalancerName;
  /** Choices that `peak-ewma` and `least-request` compare. */
  readonly choices: number;
  /** Slow start; `undefined` is off. After an ejection it always applies. */
  readonly slowStart: SlowStartRules | undefined;
  /** Bounds. */
  readonly limits: ClusterLimits;
  /** Ejection; `undefined` is off. */
  readonly outlier: OutlierRules | undefined;
  /** Below this share of healthy endpoints all of them are used, 0 to 100. Envoy `healthy_panic_threshold`. */
  readonly panicPercent: number;
  /** Health of a priority counts this many times. Envoy `overprovisioning_factor` / 100. */
  readonly overprovisioning: number;
  /** Whether endpoints near to us come first. Istio `localityLbSetting.failover`. */
  readonly localityFailover: boolean;
  /** Weights of localities; those that are not named have 1. `undefined` balances over all of a priority's endpoints. */
  readonly localityWeights: Readonly<Record<string, number>> | undefined;
  /** Pays for retries. */
  readonly retryBudget: RetryBudgetRules;
  /** A further bound on retries; `undefined` is none. */
  readonly retryConcurrency: RetryConcurrencyRules | undefined;
}
