import type { MeshErrorCode, Reached } from './errors.js';
import type { RetryCondition } from './traffic.js';

/** Why an attempt was followed by another: the condition of the route that matched, or what needs none. */
export type RetryReason = RetryCondition | 'classifier' | 'not-processed' | 'unsent';

/** Keeps the names as a type. */
function defineReasons<R extends string>(reasons: Readonly<Record<R, string>>): Readonly<Record<R, string>> {
  return Object.freeze(reasons);
}

/** Why an attempt was followed by another, in words; the names are stable. */
export const retryReasons: Readonly<Record<RetryReason, string>> = defineReasons({
  '5xx': 'Condition of the route: the reply was a 5xx, or the attempt broke.',
  cancelled: 'Condition of the route: gRPC status CANCELLED.',
  classifier: "The application's classifier said `retryable`.",
  'connect-failure': 'Condition of the route: the attempt never left this process.',
  'deadline-exceeded': 'Condition of the route: gRPC status DEADLINE_EXCEEDED.',
  'envoy-ratelimited': 'Condition of the route: the reply had `x-envoy-ratelimited`.',
  'gateway-error': 'Condition of the route: the reply was 502, 503 or 504, or the attempt broke.',
  internal: 'Condition of the route: gRPC status INTERNAL.',
  'not-processed':
    'Needs no condition, once a call: the peer proved that no handler saw it. Costs no attempt and nothing of the budget.',
  'refused-stream': 'Condition of the route: the peer proved that no handler saw it.',
  reset: 'Condition of the route: the attempt broke before its head, or took longer than one may.',
  'reset-before-request': 'Condition of the route: the attempt never left this process.',
  'resource-exhausted': 'Condition of the route: gRPC status RESOURCE_EXHAUSTED.',
  'retriable-4xx': 'Condition of the route: the reply was 409.',
  'retriable-headers': 'Condition of the route: a header of the reply matched.',
  'retriable-status-codes': 'Condition of the route: the status of the reply is listed.',
  unavailable: 'Condition of the route: gRPC status UNAVAILABLE.',
  unsent:
    'Needs no condition, twice a call: it never left this process, and goes to another endpoint at once. Costs no attempt and nothing of the budget.',
});

/** Why a failed attempt was not followed by another, in words; the names are stable. */
export const noRetryReasons = defineReasons({
  'attempts-used-up': 'The route allows no more attempts.',
  'body-not-kept': 'The request body cannot be sent again: more was read of it than is kept.',
  'budget-empty': 'The retry budget of the cluster is spent: too few calls succeed.',
  cancelled: 'The caller, a layer or a closing client ended the call.',
  classifier: "The application's classifier said `success` or `failure`.",
  deadline: 'The time of the call is over, or what is left is less than another attempt takes.',
  delivered: 'The caller had the head of the reply already.',
  'final-failure': 'Another attempt would fail the same way.',
  'forbidden-by-peer': 'The peer asked not to be tried again.',
  'no-condition': 'No condition of the route names what happened.',
  'no-endpoint': 'There was no endpoint to send it to.',
  'not-idempotent':
    'It may have been processed, and the call is not idempotent by its method, a key or its route.',
  overflow: 'A limit of the cluster was reached: more attempts would make it worse.',
  'retries-off': 'The route or the channel allows one attempt.',
  'retry-after': 'The peer asked for a longer wait than is granted.',
  'retry-concurrency': 'The cluster has as many retries under way as it may.',
  'retry-of-caller':
    'The call is made for a call that is a retry itself: only what reached no handler is sent again.',
});

/** Why a failed attempt was not followed by another: the first gate of a retry that it did not pass. */
export type NoRetryReason = keyof typeof noRetryReasons;

/** One attempt of an outbound call, and what came of it. */
export interface AttemptNote {
  /** `host:port` of its endpoint. */
  readonly endpoint: string;
  /** Endpoints that the balancer chose from. */
  readonly usableEndpoints: number;
  /** Endpoints that were configured: the others were ejected, or are for when these fail. */
  readonly allEndpoints: number;
  /** When it began, on the monotonic clock, in milliseconds. */
  readonly startedMs: number;
  /** How long until its outcome was known: the head over HTTP, the status over gRPC, or the failure; in milliseconds. */
  readonly durationMs: number;
  /** HTTP status; `undefined` where no head came, and for gRPC. */
  readonly httpStatus: number | undefined;
  /** Number of the gRPC status. */
  readonly grpcStatus: number | undefined;
  /** Code of what ended it, where that was no reply or the reply broke. */
  readonly error: MeshErrorCode | undefined;
  /** `no`: it never left. `refused`: the peer proved that no handler saw it. `maybe`: it was sent. */
  readonly reached: Reached;
  /** Why it was followed by another; `undefined` if it was not. */
  readonly retried: RetryReason | undefined;
  /** How long after its end the next one began, in milliseconds; `undefined` if none did. */
  readonly waitedMs: number | undefined;
  /** Why it was not followed by another; `undefined` if it was, or if it succeeded. */
  readonly notRetried: NoRetryReason | undefined;
}

/** What came of the attempts of one outbound call. */
export interface AttemptNotes {
  /** In order, those that cost nothing included. */
  readonly attempts: readonly AttemptNote[];
  /** Why the call was not tried again, or at all; `undefined` if it succeeded, or if a layer or a route answered it. */
  readonly notRetried: NoRetryReason | undefined;
}
