import { constants } from 'node:http2';
import type { Metadata } from '@grpc/grpc-js';
import { httpStatusOf, statusFromGrpcNumber } from '@inmesh/core';
import type { AttemptResult, RoutePolicy } from '@inmesh/resilience';

/** The status of one attempt, as grpc-js tells it. */
export interface AttemptStatus {
  /** gRPC status number. */
  readonly code: number;
  /** Text. */
  readonly details: string;
  /** Trailers. */
  readonly metadata: Metadata;
  /** Code of the RST_STREAM that ended the stream, if that is how it ended. */
  readonly rstCode?: number;
}

const resourceExhausted = 8;

/** What grpc-js says when a connection broke under a call; a peer's own UNAVAILABLE must not be taken for it. */
const dropped = 'Connection dropped';
/** What it says when a message could not be written. */
const unwritten = /^Write (?:error|failed)/;

/** Whether the peer proved that no handler saw the call: REFUSED_STREAM, or beyond the last stream of a GOAWAY. */
export function isRefused({ rstCode }: AttemptStatus): boolean {
  return rstCode === constants.NGHTTP2_REFUSED_STREAM;
}

/** Whether the connection or the stream broke, rather than the peer said how the call ended. */
export function isReset({ code, details, rstCode }: AttemptStatus): boolean {
  if (code === 0) return false;
  return rstCode !== undefined || details === dropped || unwritten.test(details);
}

/**
 * Whose fault a status is. Envoy's mapping of gRPC to HTTP statuses decides: 500 is an error, 503 and 504 are errors
 * of the gateway kind. Two differ from Envoy: UNIMPLEMENTED (501) says that the caller is wrong, not the endpoint;
 * RESOURCE_EXHAUSTED (429) and CANCELLED (499) say nothing of its health.
 *
 * @see {@link https://github.com/envoyproxy/envoy/blob/main/source/common/grpc/status.cc | Envoy, Grpc::Utility::grpcToHttpStatus}
 */
function resultOf(status: AttemptStatus): AttemptResult {
  if (status.code === 0) return 'ok';
  if (isRefused(status)) return 'unknown';
  if (isReset(status)) return 'local-error';
  const httpStatus = httpStatusOf(statusFromGrpcNumber(status.code));
  switch (httpStatus) {
    case 429:
    case 499:
      return 'unknown';
    case 500:
      return 'error';
    case 503:
    case 504:
      return 'gateway-error';
    default:
      return 'ok';
  }
}

/** What one attempt came to. */
export interface Judgement {
  /** As far as the endpoint is to blame. */
  readonly result: AttemptResult;
  /** Whether it must not look fast, however quickly it answered. */
  readonly isPenalized: boolean;
  /** Whether the conditions of the route, or the user's classifier, want it sent again. */
  readonly isRetryable: boolean;
}

const fine: Judgement = Object.freeze({ result: 'ok', isPenalized: false, isRetryable: false });

/**
 * Judges the status of an attempt by the rules of its route.
 *
 * @param isTimedOut - Whether we cut it because it took too long for one attempt.
 */
export function judge(
  { rules, predicate }: RoutePolicy,
  status: AttemptStatus,
  isTimedOut: boolean,
): Judgement {
  const { classify } = rules;
  if (isTimedOut) return { result: 'local-error', isPenalized: true, isRetryable: predicate.onReset };
  if (status.code === 0 && classify === undefined) return fine;
  const result = resultOf(status);
  const own = classify?.({
    httpStatus: 200,
    grpcStatus: status.code,
    header: (name) => status.metadata.get(name)[0]?.toString(),
  });
  if (own !== undefined)
    return own === 'success'
      ? fine
      : { result: 'error', isPenalized: true, isRetryable: own === 'retryable' && status.code !== 0 };
  const isBroken = isReset(status);
  return {
    result,
    isPenalized: result.endsWith('error') || status.code === resourceExhausted,
    isRetryable: isRefused(status)
      ? predicate.onRefused
      : isBroken
        ? predicate.onReset
        : predicate.grpcStatuses.has(status.code),
  };
}
