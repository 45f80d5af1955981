import {
  type Cluster,
  type ClusterLimits,
  isMeshError,
  MeshError,
  type MeshErrorCode,
  type Reached,
} from '@inmesh/core';
import type { Attempt } from './attempt.js';
import type { EndpointState, Tried } from './endpoint-state.js';

/** Failures that speak against the endpoint. */
export const blaming: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  'INMESH_ERR_ATTEMPT_TIMEOUT',
  'INMESH_ERR_BAD_REPLY',
  'INMESH_ERR_CONNECTION_LOST',
  'INMESH_ERR_CONNECT_FAILED',
  'INMESH_ERR_CONNECT_TIMEOUT',
  'INMESH_ERR_HEAD_TIMEOUT',
  'INMESH_ERR_PEER_IDENTITY',
  'INMESH_ERR_PEER_REFUSED',
]);

/** Failures after which the addresses of a cluster are worth another look. */
export const unreachable: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  'INMESH_ERR_CONNECT_FAILED',
  'INMESH_ERR_CONNECT_TIMEOUT',
  // The address may have become another workload's.
  'INMESH_ERR_PEER_IDENTITY',
  'INMESH_ERR_PEER_REFUSED',
]);

/** An attempt that ended with an error: what is asked for later, in place of the attempt. */
export class FailedAttempt implements Tried {
  readonly endpoint: EndpointState;
  readonly before: Tried | undefined;
  /** What it came to. */
  readonly error: MeshError;

  /** @param before - Those before it. */
  constructor(endpoint: EndpointState, before: Tried | undefined, error: MeshError) {
    this.endpoint = endpoint;
    this.before = before;
    this.error = error;
  }
}

/** What the attempt before came to, after why there is no other: that alone tells nobody what to mend. */
function outcomeOf(last: Tried | undefined): string {
  if (last === undefined) return '';
  if (last instanceof FailedAttempt) return `; the attempt before failed: ${last.error.message}`;
  return '; the attempt before was answered, and its reply was to be retried';
}

function causeOf(last: Tried | undefined): { readonly cause?: MeshError } {
  return last instanceof FailedAttempt ? { cause: last.error } : {};
}

const limited: Readonly<Record<keyof ClusterLimits, string>> = Object.freeze({
  maxConnections: 'connections',
  maxPending: 'calls that wait for a connection',
  maxRequests: 'calls in flight',
});

/** A cluster has as much of something as it may. */
export function overflow(cluster: string, limit: keyof ClusterLimits, count: number, max: number): MeshError {
  return new MeshError(
    'INMESH_ERR_OVERFLOW',
    `${cluster} has ${count} ${limited[limit]}, at most ${max} are allowed (rules.limits.${limit})`,
    { stackless: true, details: { cluster, limit } },
  );
}

/** Nothing to pick from. */
export function noEndpoint({ name, endpoints }: Cluster, last?: Tried): MeshError {
  const { state } = endpoints;
  const why =
    state.kind !== 'pending'
      ? ''
      : state.error instanceof Error
        ? `: ${state.error.message}`
        : ': where they are has not been found out yet';
  return new MeshError(
    'INMESH_ERR_NO_ENDPOINT',
    `${name} has no endpoint that can be used${why}${outcomeOf(last)}`,
    { stackless: true, details: { cluster: name }, ...causeOf(last) },
  );
}

/** One attempt took longer than one may. What was not sent reached nobody. */
export function attemptTimeout(cluster: string, { endpoint, isSent }: Attempt, timeoutMs: number): MeshError {
  return new MeshError(
    'INMESH_ERR_ATTEMPT_TIMEOUT',
    isSent
      ? `${cluster} at ${endpoint.key} did not answer within ${timeoutMs} ms`
      : `there was no connection to ${cluster} at ${endpoint.key} within ${timeoutMs} ms`,
    {
      stackless: true,
      details: { cluster, endpoint: endpoint.key, timeoutMs },
      ...(isSent ? {} : { reached: 'no', retry: 'elsewhere' }),
    },
  );
}

/** A reply that ended before it began. */
export function headless(cluster: string, { endpoint }: Attempt): MeshError {
  return new MeshError(
    'INMESH_ERR_BAD_REPLY',
    `${cluster} at ${endpoint.key} ended its reply before a head`,
    {
      stackless: true,
      details: { cluster, endpoint: endpoint.key },
    },
  );
}

/** The deadline of the call has passed. */
export function deadlineExceeded(cluster: string, last?: Tried): MeshError {
  return new MeshError(
    'INMESH_ERR_DEADLINE_EXCEEDED',
    `the call to ${cluster} ran out of time${outcomeOf(last)}`,
    { stackless: true, details: { cluster }, ...causeOf(last) },
  );
}

/** No reply began in time. */
export function headTimeout(cluster: string, timeoutMs: number, last?: Tried): MeshError {
  return new MeshError(
    'INMESH_ERR_HEAD_TIMEOUT',
    `${cluster} did not begin to answer within ${timeoutMs} ms${outcomeOf(last)}`,
    { stackless: true, details: { cluster, timeoutMs }, ...causeOf(last) },
  );
}

/** What a transport threw instead of sending. */
export function startError(error: unknown): MeshError {
  if (isMeshError(error)) return error;
  return new MeshError('INMESH_ERR_INTERNAL', `the attempt could not be started: ${String(error)}`, {
    cause: error,
    reached: 'no',
  });
}

/** What an attempt came to: what it reports, as far as it fits what was seen of it. */
export function reachedBy({ isSent }: Attempt, { reached, retry }: MeshError): Reached {
  if (!isSent) return 'no';
  return reached === 'no' && retry === 'elsewhere' ? 'maybe' : reached;
}

/**
 * The last error, as the result of all attempts.
 *
 * @param tries - Attempts and tries that never left.
 * @param reached - The worst that any of them came to.
 */
export function totalOf(error: MeshError, tries: number, reached: Reached): MeshError {
  if (tries <= 1 && error.reached === reached) return error;
  const suffix = tries > 1 ? ` (after ${tries} attempts)` : '';
  return new MeshError(error.code, `${error.message}${suffix}`, {
    cause: error.cause ?? error,
    status: error.status,
    reached,
    retry: reached === 'maybe' && error.retry === 'elsewhere' ? 'if-idempotent' : error.retry,
    details: { ...error.details, attempts: tries },
    stackless: true,
  });
}
