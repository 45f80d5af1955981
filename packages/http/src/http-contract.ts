import type { Server } from 'node:http';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type {
  CallContext,
  CallEnd,
  ConnectionFacts,
  Introductions,
  LiveCalls,
  LiveStack,
  Logger,
  MtlsMode,
  RefusedCall,
  Runtime,
} from '@inmesh/core';
import type { TlsFrontEnd } from '@inmesh/identity';
import type { Normalize } from './clean-target.js';

/** Takes HTTP/2 streams that are not gRPC. */
export type OnHttpStream = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: string[],
) => void;

/** Where HTTP/2 connections go: a gRPC server behind the same port. */
export interface GrpcSeat {
  /** Takes an HTTP/2 connection, decrypted or plaintext; hands streams that are not gRPC to `onHttpStream`. */
  accept(socket: Socket, facts: ConnectionFacts, onHttpStream: OnHttpStream): void;
  /** Sends GOAWAY on every connection; cuts them after `graceMs`. */
  drain(graceMs: number): void;
}

/** Bounds of a listener. */
export interface ListenerLimits {
  /** Connections; further ones are cut. @defaultValue 10_000 */
  readonly maxConnections?: number;
  /** Connections that have said nothing yet; the oldest gives way. @defaultValue 1024 */
  readonly maxSilent?: number;
  /** Longest wait for the first bytes, in milliseconds. @defaultValue 3000 */
  readonly sniffTimeoutMs?: number;
  /** Longest wait for the head of a request, in milliseconds. @defaultValue that of the server */
  readonly headersTimeoutMs?: number;
  /**
   * Longest time that an HTTP/2 connection stays open without a stream after its first, in milliseconds; then GOAWAY.
   * Same as Envoy `idle_timeout`. The first stream must come within `headersTimeoutMs`. @defaultValue 3_600_000
   */
  readonly http2IdleTimeoutMs?: number;
}

/** What {@link createHttpListener} needs. */
export interface HttpListenerOptions {
  /** The application's own server: it listens, we stand before its connections and requests. */
  readonly server: Server;
  /** Terminates mTLS; `undefined` with mode `disable` only. */
  readonly tls: TlsFrontEnd | undefined;
  /** What is accepted. */
  readonly mode: MtlsMode;
  /** Layers of inbound calls. */
  readonly stack: LiveStack;
  /** Calls in flight. */
  readonly live: LiveCalls;
  /** Carries the inbound call to outbound ones. */
  readonly context: CallContext;
  /** Normalizes a target in origin form; `undefined` refuses it with 400. */
  readonly normalize: Normalize;
  /** A gRPC server behind the same port, asked for each HTTP/2 connection. @defaultValue none */
  readonly grpc?: () => GrpcSeat | undefined;
  /** Whether plain HTTP over HTTP/2 reaches the application. @defaultValue false */
  readonly http2?: boolean;
  /** Paths that a plaintext GET reaches although the mode is strict. @defaultValue none */
  readonly probePaths?: readonly string[];
  /** Bounds. */
  readonly limits?: ListenerLimits;
  /** Introduces us to callers that introduce themselves. @defaultValue nobody is introduced */
  readonly introductions?: Introductions | undefined;
  /** Told of each request that was refused before layers saw it. @defaultValue nobody */
  readonly onRefused?: (call: RefusedCall, end: CallEnd) => void;
  /** Told of each connection that is cut because it says something without TLS, or with TLS where there is none. @defaultValue nobody */
  readonly onWrongSecurity?: (found: 'plaintext' | 'tls') => void;
  /** Time. */
  readonly runtime: Runtime;
  /** Told what was refused and why. */
  readonly logger: Logger;
}

/** A server with the mesh before it. */
export interface HttpListener {
  /** The application's own server. */
  readonly server: Server;
  /** Begins to close: `Connection: close` and GOAWAY at once, still accepting for `delayMs`, then waits for calls. */
  drain(options: { readonly delayMs: number; readonly timeoutMs: number }): Promise<void>;
  /** Stops accepting and cuts every connection. */
  close(): Promise<void>;
}
