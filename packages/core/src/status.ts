/**
 * Canonical outcome of a call: the gRPC status codes, spelled with dashes.
 *
 * @see {@link https://github.com/grpc/grpc/blob/master/doc/statuscodes.md | gRPC status codes}
 */
export type StatusCode =
  | 'ok'
  | 'cancelled'
  | 'unknown'
  | 'invalid-argument'
  | 'deadline-exceeded'
  | 'not-found'
  | 'already-exists'
  | 'permission-denied'
  | 'resource-exhausted'
  | 'failed-precondition'
  | 'aborted'
  | 'out-of-range'
  | 'unimplemented'
  | 'internal'
  | 'unavailable'
  | 'data-loss'
  | 'unauthenticated';

const byNumber: readonly StatusCode[] = [
  'ok',
  'cancelled',
  'unknown',
  'invalid-argument',
  'deadline-exceeded',
  'not-found',
  'already-exists',
  'permission-denied',
  'resource-exhausted',
  'failed-precondition',
  'aborted',
  'out-of-range',
  'unimplemented',
  'internal',
  'unavailable',
  'data-loss',
  'unauthenticated',
];

const numbers = new Map<StatusCode, number>(byNumber.map((status, index) => [status, index]));

const httpByStatus: Readonly<Record<StatusCode, number>> = {
  ok: 200,
  cancelled: 499,
  unknown: 500,
  'invalid-argument': 400,
  'deadline-exceeded': 504,
  'not-found': 404,
  'already-exists': 409,
  'permission-denied': 403,
  'resource-exhausted': 429,
  'failed-precondition': 400,
  aborted: 409,
  'out-of-range': 400,
  unimplemented: 501,
  internal: 500,
  unavailable: 503,
  'data-loss': 500,
  unauthenticated: 401,
};

/** Number of a status on the gRPC wire, 0 to 16. */
export function grpcStatusNumber(status: StatusCode): number {
  return numbers.get(status) ?? 2;
}

/** Status for a number on the gRPC wire; anything outside 0 to 16 is `unknown`, as gRPC demands. */
export function statusFromGrpcNumber(code: number): StatusCode {
  return byNumber[code] ?? 'unknown';
}

/** HTTP status that a canonical status maps to (the table of google.rpc.Code). */
export function httpStatusOf(status: StatusCode): number {
  return httpByStatus[status];
}

/**
 * Canonical status for an HTTP status without `grpc-status`.
 *
 * @see {@link https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md | HTTP to gRPC status mapping}
 */
export function statusFromHttp(httpStatus: number): StatusCode {
  if (httpStatus >= 100 && httpStatus < 400) return 'ok';
  switch (httpStatus) {
    case 400:
      return 'invalid-argument';
    case 401:
      return 'unauthenticated';
    case 403:
      return 'permission-denied';
    case 404:
      return 'not-found';
    case 409:
      return 'aborted';
    case 429:
      return 'resource-exhausted';
    case 499:
      return 'cancelled';
    case 501:
      return 'unimplemented';
    case 502:
    case 503:
      return 'unavailable';
    case 504:
      return 'deadline-exceeded';
    default:
      return httpStatus >= 500 ? 'internal' : 'unknown';
  }
}
