import { constants } from 'node:http2';
import type { Metadata } from '@grpc/grpc-js';
import { httpStatusOf, type RetryReason, statusFromGrpcNumber } from '@inmesh/core';
import { type AttemptResult, type ClusterState, classify, type RoutePolicy } from '@inmesh/resilience';
import { errorCodeOf } from './call-status.js';

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

/**
 * What grpc-js calls a connection or a stream that broke: CANCELLED (CANCEL), PERMISSION_DENIED
 * (INADEQUATE_SECURITY), RESOURCE_EXHAUSTED (ENHANCE_YOUR_CALM), INTERNAL (others), UNAVAILABLE (REFUSED_STREAM, no
 * connection).
 *
 * @see {@link https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors | gRPC over HTTP/2, Errors}
 */
export const resetStatuses: ReadonlySet<number> = new Set([1, 7, resourceExhausted, 13, 14]);

/** What grpc-js says when a connection broke under a call, or a message could not be written. */
const broken = /^(?:Connection dropped$|Write (?:error|failed))/;

/** What grpc-js says of an answer of HTTP that is none of gRPC. */
const foreign = /^Received HTTP status code /;

/** Whether grpc-js made a status up, as far as that can be told: a peer's reply of trailers only names its type. */
function isBare(metadata: Metadata): boolean {
  return Object.keys(metadata.getMap()).length === 0;
}

/** Whether the peer proved that no handler saw the call: REFUSED_STREAM, or beyond the last stream of a GOAWAY. */
export function isRefused({ rstCode }: AttemptStatus): boolean {
  return rstCode === constants.NGHTTP2_REFUSED_STREAM;
}

/** Whether the peer answered, be it by a status alone; one that grpc-js made says nothing of the peer. */
export function isAnswer({ details, metadata, rstCode }: AttemptStatus): boolean {
  return rstCode === undefined && (!isBare(metadata) || foreign.test(details));
}

/** Whether the connection or the stream broke, rather than the peer said how the call ended. */
export function isReset({ code, details, metadata, rstCode }: AttemptStatus): boolean {
  if (!resetStatuses.has(code)) return false;
  return rstCode !== undefined || (broken.test(details) && isBare(metadata));
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
  /** Whether the user's classifier said so. */
  readonly isClassified: boolean;
}

const fine: Judgement = Object.freeze({
  result: 'ok',
  isPenalized: false,
  isRetryable: false,
  isClassified: false,
});
/** The peer found the call itself too much, its headers for instance: so would any, however often it is asked. */
const tooMuch: Judgement = Object.freeze({ ...fine, result: 'unknown' });
const approved: Judgement = Object.freeze({ ...fine, isClassified: true });

/** Whether it is a status of gRPC that is not OK: grpc-js can be told to repeat no other. */
function isFailure(code: number): boolean {
  return code >= 1 && code <= 16;
}

/**
 * Judges the status of an attempt by the rules of its route.
 *
 * @param isTimedOut - Whether we cut it because it took too long for one attempt.
 * @param cluster - Told if the user's classifier throws.
 * @param isConnected - Whether its connection is there: what ended with all streams of it was no fault of the call.
 */
export function judge(
  policy: RoutePolicy,
  status: AttemptStatus,
  isTimedOut: boolean,
  cluster: Pick<ClusterState, 'onThrown'>,
  isConnected = true,
): Judgement {
  const { rules, predicate } = policy;
  if (isTimedOut)
    return {
      result: 'local-error',
      isPenalized: true,
      isRetryable: predicate.onReset,
      isClassified: false,
    };
  if (status.code === 0 && rules.classify === undefined) return fine;
  const { code, metadata } = status;
  const result = resultOf(status);
  const header = (name: string): string | undefined => metadata.get(name)[0]?.toString();
  const own = classify({ httpStatus: 200, grpcStatus: code, header }, policy, cluster);
  if (own !== undefined)
    return own === 'success'
      ? approved
      : {
          result: 'error',
          isPenalized: true,
          isRetryable: own === 'retryable' && isFailure(status.code),
          isClassified: true,
        };
  if (isConnected && status.rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM) return tooMuch;
  const isBroken = isReset(status);
  return {
    result,
    isPenalized: result.endsWith('error') || status.code === resourceExhausted,
    isRetryable: isRefused(status)
      ? predicate.onRefused
      : isBroken
        ? predicate.onReset
        : predicate.grpcStatuses.has(status.code),
    isClassified: false,
  };
}

/** Why a status that is to be sent again is. */
export function reasonOf({ predicate }: RoutePolicy, status: AttemptStatus): RetryReason {
  const isBroken = errorCodeOf(status) === 'INMESH_ERR_ATTEMPT_TIMEOUT' || isReset(status);
  const condition = isRefused(status)
    ? predicate.refusedCondition
    : isBroken
      ? predicate.resetCondition
      : predicate.conditionOfGrpc(status.code);
  return condition ?? 'classifier';
}
