import { type Call, type CallEnd, grpcStatusNumber, type StatusCode } from '@inmesh/core';
import type { Attributes, Span } from '@opentelemetry/api';

/** Methods that the conventions know; any other would be a name made up by a peer. */
const methods: ReadonlySet<string> = new Set(
  'CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE QUERY'.split(' '),
);

/** Statuses that are faults of a server; others are what callers are told. */
const serverFaults: ReadonlySet<StatusCode> = new Set([
  'unknown',
  'deadline-exceeded',
  'unimplemented',
  'internal',
  'unavailable',
  'data-loss',
]);

/** Code of a span that failed, of the API. */
const failed = 2;

/** Method of a request, as the conventions name it. */
export function methodOf({ method }: Call['facts']): string {
  return methods.has(method) ? method : '_OTHER';
}

/** `pkg.Service/Method` */
export function rpcMethodOf({ path }: Call['facts']): string {
  return path.slice(1);
}

/** `DEADLINE_EXCEEDED` */
function statusName(status: StatusCode): string {
  return status.replaceAll('-', '_').toUpperCase();
}

/** What a call is, on either side; a new object, to which more may be added. */
export function requestAttributes({ protocol, facts }: Call): Attributes {
  if (protocol === 'grpc') return { 'rpc.system.name': 'grpc', 'rpc.method': rpcMethodOf(facts) };
  const method = methodOf(facts);
  const attributes: Attributes = {
    'http.request.method': method,
    'network.protocol.version': protocol === 'http2' ? '2' : '1.1',
  };
  if (method === '_OTHER') attributes['http.request.method_original'] = facts.method.slice(0, 32);
  return attributes;
}

/** Marks a span as failed. @param type - Of the error, of low cardinality. */
function markFailed(span: Span, type: string): void {
  span.setAttribute('error.type', type);
  span.setStatus({ code: failed });
}

/** What came of a call, on a span of the server. */
export function endServerSpan(span: Span, call: Call, { status, httpStatus, error }: CallEnd): void {
  if (call.protocol === 'grpc') {
    span.setAttribute('rpc.response.status_code', statusName(status));
    if (serverFaults.has(status)) markFailed(span, statusName(status));
  } else {
    if (httpStatus > 0) span.setAttribute('http.response.status_code', httpStatus);
    if (call.operation !== undefined) {
      span.setAttribute('http.route', call.operation);
      span.updateName(`${methodOf(call.facts)} ${call.operation}`);
    }
    if (httpStatus >= 500) markFailed(span, String(httpStatus));
    else if (httpStatus === 0 && error !== undefined) markFailed(span, error.code);
  }
  span.end();
}

/** What came of a call or an attempt, on a span of the client. */
export function endClientSpan(
  span: Span,
  call: Call,
  end: Pick<CallEnd, 'error' | 'httpStatus'> & { readonly status: StatusCode | undefined },
): void {
  const { status, httpStatus, error } = end;
  if (call.protocol === 'grpc') {
    if (status !== undefined) span.setAttribute('rpc.response.status_code', statusName(status));
    if (status !== undefined && grpcStatusNumber(status) !== 0)
      markFailed(span, error?.code ?? statusName(status));
  } else {
    if (httpStatus > 0) span.setAttribute('http.response.status_code', httpStatus);
    if (error !== undefined) markFailed(span, error.code);
    else if (httpStatus >= 400) markFailed(span, String(httpStatus));
  }
  span.end();
}
