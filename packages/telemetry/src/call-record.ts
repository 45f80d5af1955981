import {
  type AttemptNote,
  type Call,
  type CallEnd,
  grpcStatusNumber,
  type NoRetryReason,
  type Origin,
  type Side,
} from '@inmesh/core';
import { outcomeOf } from './request-labels.js';
import { codeFlag, type ResponseFlag } from './response-flags.js';

/** What was decided about an inbound call. */
export interface AccessDecision {
  /** Whether it may go on. */
  readonly isAllowed: boolean;
  /** `namespace/name` of the policy that decided; empty if none matched. */
  readonly policy: string;
  /** Which of its rules, from 0; -1 if none. */
  readonly rule: number;
  /** Where that rule stands. */
  readonly origin: Origin | undefined;
  /** Why, in words. */
  readonly reason: string;
}

/** One attempt of a call, and what came of it. */
export interface AttemptRecord extends AttemptNote {
  /** When it began, in milliseconds of Unix time. */
  readonly startedMs: number;
  /** Short flag of Envoy. */
  readonly flag: ResponseFlag;
}

/** A call that has ended, and what became of it. */
export interface CallRecord {
  /** Whether we were called or have called. */
  readonly side: Side;
  /** When it began, in milliseconds of Unix time. */
  readonly startedMs: number;
  /** How long it took, in milliseconds, to the last byte. */
  readonly durationMs: number;
  /** What it spoke. */
  readonly protocol: Call['protocol'];
  /** Its method; `POST` for gRPC. */
  readonly method: string;
  /** Its path, without the query. */
  readonly path: string;
  /** The host that was named. */
  readonly authority: string;
  /** The matched route of a framework, or the gRPC method; where it is known. */
  readonly operation: string | undefined;
  /** SPIFFE ID that the other side proved; on the client that of the last attempt that was sent. */
  readonly peer: string | undefined;
  /** Address of the caller; on the server. */
  readonly remoteIp: string | undefined;
  /** Where it went; on the client. */
  readonly cluster: string | undefined;
  /** `host:port` of the last attempt; on the client. */
  readonly endpoint: string | undefined;
  /** Attempts that were made; on the client. */
  readonly attempts: number | undefined;
  /**
   * What came of each attempt, in order, and why it was tried again or not; those that never left are in it and do not
   * count in {@link CallRecord.attempts}. `undefined` on the server, and where nobody listened when the call began.
   */
  readonly attemptLog: readonly AttemptRecord[] | undefined;
  /** Why it failed instead of being tried again; `undefined` if it succeeded, and where there is no {@link CallRecord.attemptLog}. */
  readonly notRetried: NoRetryReason | undefined;
  /** HTTP status; 0 where the caller left before there was one. Where none came, what a proxy would have answered. */
  readonly httpStatus: number;
  /** Number of the gRPC status. */
  readonly grpcStatus: number | undefined;
  /** Short flags of Envoy, by commas. */
  readonly flag: ResponseFlag;
  /** Code of the error that ended it. */
  readonly error: string | undefined;
  /** What authorization decided; on the server. */
  readonly decision: AccessDecision | undefined;
  /** Bytes of the request. */
  readonly requestBytes: number;
  /** Bytes of the reply. */
  readonly responseBytes: number;
  /** From `traceparent`. */
  readonly traceId: string | undefined;
  /** From `x-request-id`. */
  readonly requestId: string | undefined;
}

/** The trace of a `traceparent`. W3C Trace Context §3.2. */
const traceIdIn = /^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:$|-)/;

/** Longest text of a peer that a record holds, in characters. */
const maxText = 256;

function short(text: string | undefined): string | undefined {
  return text === undefined || text.length <= maxText ? text : `${text.slice(0, maxText)}…`;
}

/** @param offsetMs - From the monotonic clock to Unix time. */
function attemptRecord(note: AttemptNote, offsetMs: number): AttemptRecord {
  const { error, startedMs } = note;
  const flag = error === undefined ? '-' : codeFlag('client', error);
  return { ...note, startedMs: startedMs + offsetMs, flag };
}

/** @param wallMs - Now, in milliseconds of Unix time. @param nowMs - Now, on the monotonic clock. */
export function recordOf(
  call: Call,
  end: CallEnd,
  decision: AccessDecision | undefined,
  wallMs: number,
  nowMs: number,
): CallRecord {
  const { side, protocol, facts, headers } = call;
  const { code, flag } = outcomeOf(call, end);
  const isServer = side === 'server';
  const durationMs = Math.max(0, nowMs - call.startedMs);
  const parent = headers.get('traceparent');
  return {
    side,
    startedMs: wallMs - durationMs,
    durationMs,
    protocol,
    method: short(facts.method) ?? '',
    path: short(facts.path) ?? '',
    authority: short(facts.authority) ?? '',
    operation: call.operation,
    peer: call.connection?.peer?.id.uri,
    remoteIp: isServer ? facts.connection.remoteIp : undefined,
    cluster: call.cluster,
    endpoint: end.endpoint,
    attempts: end.attempts,
    attemptLog: end.attemptNotes?.attempts.map((note) => attemptRecord(note, wallMs - nowMs)),
    notRetried: end.attemptNotes?.notRetried,
    httpStatus: code,
    grpcStatus: protocol === 'grpc' ? grpcStatusNumber(end.status) : undefined,
    flag,
    error: end.error?.code,
    decision,
    requestBytes: end.requestBytes,
    responseBytes: end.responseBytes,
    traceId: traceIdIn.exec(parent ?? '')?.[1],
    requestId: short(headers.get('x-request-id')),
  };
}

/** Whether somebody who looks for failures wants to see it. */
export function isFailure({ flag, httpStatus, grpcStatus = 0, decision }: CallRecord): boolean {
  return flag !== '-' || httpStatus >= 400 || grpcStatus !== 0 || decision?.isAllowed === false;
}

const protocols: Readonly<Record<Call['protocol'], string>> = {
  http1: 'HTTP/1.1',
  http2: 'HTTP/2',
  grpc: 'HTTP/2',
};

/** Why it has its status, in the words of Envoy where it has some. */
function detailsOf({ decision, error, flag }: CallRecord): string {
  if (decision?.isAllowed === false) {
    const { policy, rule } = decision;
    const id = policy === '' ? 'none' : `${policy.replace('/', '.')}[${rule}]`;
    return `rbac_access_denied_matched_policy[${id}]`;
  }
  if (flag.startsWith('DC')) return 'downstream_remote_disconnect';
  return error ?? 'via_upstream';
}

/** Fields of a line of the access log: those of Istio's JSON log, and ours behind them. */
export function accessFields(record: CallRecord): Readonly<Record<string, unknown>> {
  const { side, decision, durationMs, startedMs } = record;
  return {
    start_time: new Date(startedMs).toISOString(),
    method: record.method,
    path: record.path,
    protocol: protocols[record.protocol],
    response_code: record.httpStatus,
    response_flags: record.flag,
    response_code_details: detailsOf(record),
    bytes_received: record.requestBytes,
    bytes_sent: record.responseBytes,
    duration: Math.round(durationMs),
    request_id: record.requestId,
    authority: record.authority,
    upstream_host: record.endpoint,
    upstream_cluster: record.cluster,
    downstream_remote_address: record.remoteIp,
    route_name: record.operation,
    reporter: side === 'server' ? 'destination' : 'source',
    grpc_status: record.grpcStatus,
    peer_principal: record.peer,
    authz_policy: decision?.policy === '' ? undefined : decision?.policy,
    attempts: record.attempts,
    retried: record.attemptLog?.flatMap(({ retried }) => retried ?? []).join() || undefined,
    not_retried: record.notRetried,
    trace_id: record.traceId,
    error: record.error,
  };
}
