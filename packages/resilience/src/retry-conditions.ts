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
  /** The condition that {@link onReset} follows from. */
  readonly resetCondition: RetryCondition | undefined;
  /** The condition that {@link onConnectFailure} follows from. */
  readonly connectCondition: RetryCondition | undefined;
  /** The condition that {@link onRefused} follows from. */
  readonly refusedCondition: RetryCondition | undefined;
  readonly #conditions: ReadonlySet<RetryCondition>;
  readonly #statusCodes: ReadonlySet<number>;
  readonly #grpcStatuses: ReadonlySet<number>;
  readonly #headers: readonly HeaderTest[];

  /** @param rules - Conditions and what they name. */
  constructor({ conditions, statusCodes, replyHeaders }: RetryRules) {
    const set = new Set(conditions);
    const firstOf = (...names: readonly RetryCondition[]): RetryCondition | undefined =>
      names.find((name) => set.has(name));
    const anyReset = ['reset', 'gateway-error', '5xx'] as const;
    this.#conditions = set;
    this.#statusCodes = new Set(set.has('retriable-status-codes') ? statusCodes : []);
    this.#grpcStatuses = new Set(
      conditions.map((one) => grpcConditions.get(one)).filter((one) => one !== undefined),
    );
    this.#headers = set.has('retriable-headers')
      ? replyHeaders.map((match: HeaderMatch) => compileHeaderMatch(match))
      : [];
    this.resetCondition = firstOf(...anyReset);
    this.connectCondition = firstOf('connect-failure', 'reset-before-request', ...anyReset);
    this.refusedCondition = firstOf('refused-stream', ...anyReset);
    this.onReset = this.resetCondition !== undefined;
    this.onConnectFailure = this.connectCondition !== undefined;
    this.onRefused = this.refusedCondition !== undefined;
  }

  /** Numbers of the gRPC statuses that are named. */
  get grpcStatuses(): ReadonlySet<number> {
    return this.#grpcStatuses;
  }

  /** The condition that names a gRPC status. */
  conditionOfGrpc(grpcStatus: number): RetryCondition | undefined {
    for (const [name, status] of grpcConditions)
      if (status === grpcStatus && this.#conditions.has(name)) return name;
    return undefined;
  }

  /** The condition that the head of a reply matches. Envoy's order: rate limiting decides alone. */
  conditionOf(reply: AttemptReply): RetryCondition | undefined {
    const { httpStatus: status, grpcStatus } = reply;
    // A call that is fine costs one comparison.
    if (status < 400 && grpcStatus === undefined && this.#headers.length === 0)
      return this.#statusCodes.has(status) ? 'retriable-status-codes' : undefined;
    const set = this.#conditions;
    if (reply.header('x-envoy-ratelimited') !== undefined)
      return set.has('envoy-ratelimited') ? 'envoy-ratelimited' : undefined;
    const named = conditionOfStatus(set, status);
    if (named !== undefined) return named;
    if (this.#statusCodes.has(status)) return 'retriable-status-codes';
    if (this.#headers.some((test) => test(reply))) return 'retriable-headers';
    return grpcStatus === undefined ? undefined : this.conditionOfGrpc(grpcStatus);
  }

  /** Whether the head of a reply matches. */
  matchesReply(reply: AttemptReply): boolean {
    return this.conditionOf(reply) !== undefined;
  }

  /** Whether a status was named one by one: the only way a call that is not idempotent is sent again on a reply. */
  names(httpStatus: number): boolean {
    return this.#statusCodes.has(httpStatus);
  }
}

function conditionOfStatus(set: ReadonlySet<RetryCondition>, status: number): RetryCondition | undefined {
  if (status >= 500 && status < 600 && set.has('5xx')) return '5xx';
  if (status >= 502 && status <= 504 && set.has('gateway-error')) return 'gateway-error';
  return status === 409 && set.has('retriable-4xx') ? 'retriable-4xx' : undefined;
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
