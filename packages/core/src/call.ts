import type { AttemptNotes } from './attempt-notes.js';
import type { MeshError } from './errors.js';
import type { Headers } from './headers.js';
import type { ConnectionFacts } from './peer.js';
import type { StatusCode } from './status.js';

/** The seat of a call: we call (`client`, outbound) or are called (`server`, inbound). */
export type Side = 'client' | 'server';

/** What a call speaks. */
export type Protocol = 'http1' | 'http2' | 'grpc';

/** Facts of a request that a policy may decide on. They do not change after a decision was made. */
export interface RequestFacts {
  /** Method as sent; `POST` for gRPC. */
  readonly method: string;
  /** Normalized path without query and fragment; `/pkg.Service/Method` for gRPC. */
  readonly path: string;
  /** Authority or Host, lower case, port included as sent. */
  readonly authority: string;
  /** The connection it came on. On the client side, what is known before one is picked: no peer. */
  readonly connection: ConnectionFacts;
}

/** Key of a typed value in a call's context. Make one with {@link contextKey}. */
export interface ContextKey<T> {
  /** For logs. */
  readonly name: string;
  /** Whether an outbound call sees the value of the inbound call it is made from. */
  readonly isCarried: boolean;
  /** Never set; carries the type. */
  readonly type?: T;
}

/**
 * Makes a {@link ContextKey}.
 *
 * @param options - `carried: true` lets outbound calls see the value of the inbound call they are made from.
 */
export function contextKey<T>(name: string, options: { readonly carried?: boolean } = {}): ContextKey<T> {
  return Object.freeze({ name, isCarried: options.carried ?? false });
}

/** Messages of an RPC that went by so far. */
export interface MessageCounts {
  /** From the caller. */
  readonly requests: number;
  /** To the caller. */
  readonly responses: number;
}

/** One logical request, neutral of protocol, never its payload. */
export interface Call {
  /** Which side of it we are. */
  readonly side: Side;
  /** What it speaks. */
  readonly protocol: Protocol;
  /** What a policy may decide on. */
  readonly facts: RequestFacts;
  /** Request headers (metadata for gRPC); writes reach the wire or the handler. */
  readonly headers: Headers;
  /** The connection that carries it: the one it came on, or, on the client, that of the last attempt that was sent. */
  readonly connection: ConnectionFacts | undefined;
  /** Cluster it goes to; `undefined` on the server. */
  readonly cluster: string | undefined;
  /** The inbound call in whose handler this one was made. */
  readonly parent: Call | undefined;
  /** When it began, on the monotonic clock, in milliseconds. */
  readonly startedMs: number;
  /** Messages so far; `undefined` for what is no gRPC. */
  readonly messages: MessageCounts | undefined;
  /** Low-cardinality name: the gRPC path, or the route of the framework once it is known. */
  operation: string | undefined;
  /** Absolute end on the monotonic clock, in milliseconds; `Infinity` if none. */
  readonly deadlineMs: number;
  /** Brings the deadline forward; a later one is ignored. */
  tightenDeadline(deadlineMs: number): void;
  /** Aborts when the call ends early. Made when first read: costs nothing unless asked for. */
  readonly signal: AbortSignal;
  /** Whether it was cancelled or has ended. */
  readonly isDone: boolean;
  /** Ends the call early, on both sides of the wire. */
  cancel(reason: MeshError): void;
  /** Typed value of this call, or, for carried keys, of its parent. */
  get<T>(key: ContextKey<T>): T | undefined;
  /** Sets a typed value. */
  set<T>(key: ContextKey<T>, value: T): void;
}

/** Head of a reply. */
export interface ReplyHead {
  /** HTTP status; 200 for gRPC. */
  readonly httpStatus: number;
  /** gRPC status where the head already tells it (a trailers-only reply). */
  readonly grpcStatus: StatusCode | undefined;
  /** Reply headers; writes reach the wire or the caller. */
  readonly headers: Headers;
}

/** A request that was refused before it became a {@link Call}. */
export type RefusedCall = Pick<
  Call,
  'cluster' | 'connection' | 'facts' | 'messages' | 'protocol' | 'side' | 'startedMs'
>;

/** How a call ended. */
export interface CallEnd {
  /** Canonical status. */
  readonly status: StatusCode;
  /** HTTP status, 0 if no head was seen. */
  readonly httpStatus: number;
  /** Why it failed, where it did not end normally. */
  readonly error: MeshError | undefined;
  /** Whether Inmesh answered by itself. */
  readonly isLocalReply: boolean;
  /**
   * Bytes of the request that crossed the wire, without TLS: head and body over HTTP/1.1, what DATA frames carry over
   * HTTP/2, where the head's size depends on what the connection carried before. Of several attempts, the last.
   */
  readonly requestBytes: number;
  /** Bytes of the reply, counted like {@link CallEnd.requestBytes}. */
  readonly responseBytes: number;
  /** `host:port` of the last attempt's endpoint; `undefined` on the server, and where none was picked. */
  readonly endpoint?: string | undefined;
  /** Attempts that were made; `undefined` on the server. */
  readonly attempts?: number | undefined;
  /**
   * Whether it ended with something that would have been sent again if its route allowed more attempts, where it allows
   * more than one. `undefined` on the server.
   */
  readonly isRetryLimitReached?: boolean | undefined;
  /** What came of each of them; `undefined` where nobody wanted to know when the call began. */
  readonly attemptNotes?: AttemptNotes | undefined;
}
