import type { AttemptReply, HeaderMatch, RetryCondition, RetryRules } from '@inmesh/core';
import { compileHeaderMatch, type HeaderTest } from './text-match.js';

/** gRPC statuses that a condition names. */
const grpcConditions: ReadonlyMap<RetryCondition, number> = new Map([
  ['cancelled', 1],
  ['deadline-exceeded', 4],
  ['resource-exhausted', 8],
  ['internal', 13],
  ['unavailable', 14],
]);

// Configuration needs the names too, and does not know this package.
export { defaultRetryConditions, parseRetryOn, type RetryOn, retryConditions } from '@inmesh/core';

/** Retry rules in the form the driver asks. */
export class RetryPredicate {
  /** Broken connections and per-try timeouts may be sent again. Envoy: `5xx` and `gateway-error` mean them too. */
  readonly onReset: boolean;
  /** What provably never left may be sent again, beyond the free tries. */
  readonly onConnectFailure: boolean;
  /** What the peer provably did not process may be sent again, beyond the free try. */
  readonly onRefused: boolean;
  readonly #conditions: ReadonlySet<RetryCondition>;
  readonly #statusCodes: ReadonlySet<number>;
  readonly #grpcStatuses: ReadonlySet<number>;
  readonly #headers: readonly HeaderTest[];

  /** @param rules - Conditions and what they name. */
  constructor({ conditions, statusCodes, replyHeaders }: RetryRules) {
    const set = new Set(conditions);
    const isAnyReset = set.has('5xx') || set.has('gateway-error') || set.has('reset');
    this.#conditions = set;
    this.#statusCodes = new Set(set.has('retriable-status-codes') ? statusCodes : []);
    this.#grpcStatuses = new Set(
      conditions.map((one) => grpcConditions.get(one)).filter((one) => one !== undefined),
    );
    this.#headers = set.has('retriable-headers')
      ? replyHeaders.map((match: HeaderMatch) => compileHeaderMatch(match))
      : [];
    this.onReset = isAnyReset;
    this.onConnectFailure = isAnyReset || set.has('connect-failure') || set.has('reset-before-request');
    this.onRefused = isAnyReset || set.has('refused-stream');
  }

  /** Numbers of the gRPC statuses that are named. */
  get grpcStatuses(): ReadonlySet<number> {
    return this.#grpcStatuses;
  }

  /** Whether the head of a reply matches. Envoy's order: rate limiting decides alone. */
  matchesReply(reply: AttemptReply): boolean {
    const { httpStatus: status, grpcStatus } = reply;
    // A call that is fine costs one comparison.
    if (status < 400 && grpcStatus === undefined && this.#headers.length === 0)
      return this.#statusCodes.has(status);
    const set = this.#conditions;
    if (reply.header('x-envoy-ratelimited') !== undefined) return set.has('envoy-ratelimited');
    if (matchesStatus(set, status) || this.#statusCodes.has(status)) return true;
    if (this.#headers.some((test) => test(reply))) return true;
    return grpcStatus !== undefined && this.#grpcStatuses.has(grpcStatus);
  }

  /** Whether a status was named one by one: the only way a call that is not idempotent is sent again on a reply. */
  names(httpStatus: number): boolean {
    return this.#statusCodes.has(httpStatus);
  }
}

function matchesStatus(set: ReadonlySet<RetryCondition>, status: number): boolean {
  if (status >= 500 && status < 600 && set.has('5xx')) return true;
  if (status >= 502 && status <= 504 && set.has('gateway-error')) return true;
  return status === 409 && set.has('retriable-4xx');
}

const idempotentMethods: ReadonlySet<string> = new Set([
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PUT',
  'QUERY',
  'TRACE',
]);

/**
 * Whether a method may be sent twice.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2 | RFC 9110 §9.2.2}
 */
export function isIdempotentMethod(method: string): boolean {
  return idempotentMethods.has(method);
}
