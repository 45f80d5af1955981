import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import {
  type Metadata,
  type Server,
  type ServerInterceptingCall,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import {
  askedWhy,
  type Call,
  type CallContext,
  type CallEnd,
  CallState,
  type CleanHost,
  type ConnectionFacts,
  cleanAuthority,
  cleanHeaders,
  type IntroductionLine,
  type Introductions,
  type LiveCalls,
  type LiveStack,
  type Logger,
  MeshError,
  type PeerIdentity,
  type RefusedCall,
  type Runtime,
  tellRefused,
} from '@inmesh/core';
import { connectionFacts, isLost } from '@inmesh/identity';
import { MessageMeter } from './message-meter.js';
import {
  addInterceptor,
  guardDetails,
  metadataOf,
  onStart,
  type StreamListener,
  type StreamSource,
  takeStreams,
  wrapMethod,
} from './seams.js';
import { ServerCall } from './server-call.js';
import { StreamHeaders } from './stream-headers.js';

/** What {@link attachGrpcServer} needs. */
export interface GrpcServerOptions {
  /** Layers of inbound calls. */
  readonly stack: LiveStack;
  /** Calls in flight. */
  readonly live: LiveCalls;
  /** Carries the inbound call to outbound ones. */
  readonly context: CallContext;
  /** Introduces us to callers that introduce themselves. @defaultValue nobody is introduced */
  readonly introductions?: Introductions | undefined;
  /** Told of each request that was refused before layers saw it. @defaultValue nobody */
  readonly onRefused?: (call: RefusedCall, end: CallEnd) => void;
  /** Time. */
  readonly runtime: Runtime;
  /** Told what was refused and why. */
  readonly logger: Logger;
  /** Whether a connection was proved under authorities of which one was removed since. @defaultValue never */
  readonly isStale?: (facts: ConnectionFacts) => boolean;
}

/** A grpc-js server that lives behind somebody else's port. */
export interface AttachedGrpcServer {
  /**
   * Takes an HTTP/2 connection, decrypted or plaintext; hands streams that are not gRPC to `onHttpStream`.
   *
   * @returns Its session, for whoever bounds connections that nobody uses: this does not.
   */
  accept(
    socket: Socket,
    facts: ConnectionFacts,
    onHttpStream: StreamListener,
  ): ServerHttp2Session | undefined;
  /** Sends GOAWAY on every connection; cuts them after `graceMs`. */
  drain(graceMs: number): void;
  /** Cuts every connection. */
  close(): void;
}

const attached = new WeakSet<Server>();
/** On a handler's metadata, the one object of ours that grpc-js hands on to handlers: the call it belongs to. */
const callKey: unique symbol = Symbol('inmesh.call');
type NotedMetadata = Metadata & { [callKey]?: Call };

/**
 * Who makes a call: the verified identity of its connection's peer. `undefined` on plaintext.
 *
 * @param call - What a handler of grpc-js gets as its first argument.
 */
export function grpcPeer(call: { readonly metadata: Metadata }): PeerIdentity | undefined {
  const { metadata }: { readonly metadata: NotedMetadata } = call;
  return metadata[callKey]?.facts.connection.peer;
}

function isGrpc(contentType: unknown): boolean {
  return typeof contentType === 'string' && /^application\/grpc(?:$|[+; ])/i.test(contentType);
}

/**
 * Notes which metadata belongs to which call, and puts handlers into the context of theirs: what reaches them comes
 * from events of the connection. It wraps nothing that it need not: a `ServerInterceptingCall` around every call costs
 * a tenth of a unary call, and a context around every event of the stream as much.
 *
 * @param current - The call whose stream is being handed over; grpc-js makes interceptors meanwhile.
 */
function noteInterceptor(context: CallContext, current: () => Call | undefined): ServerInterceptor {
  return (method, call) => {
    const inbound = current();
    if (inbound === undefined) return call as ServerInterceptingCall;
    const metadata: NotedMetadata | undefined = metadataOf(call);
    if (metadata !== undefined) metadata[callKey] = inbound;
    guardDetails(call);
    const inside = (handle: () => void): void => context.run(inbound, handle);
    onStart(call, (listener) => {
      // The handler runs when the request is whole, or, if that is a stream, before its first message.
      wrapMethod(listener, 'onReceiveHalfClose', inside);
      wrapMethod(listener, 'onCancel', inside);
      if (!method.requestStream) return;
      wrapMethod(listener, 'onReceiveMetadata', inside);
      wrapMethod(listener, 'onReceiveMessage', inside);
    });
    return call as ServerInterceptingCall;
  };
}

class Attachment implements AttachedGrpcServer {
  readonly #options: GrpcServerOptions;
  readonly #source: StreamSource;
  #onHttpStream: StreamListener | undefined;
  #handedOver: Call | undefined;

  constructor(server: Server, options: GrpcServerOptions) {
    this.#options = options;
    addInterceptor(
      server,
      noteInterceptor(options.context, () => this.#handedOver),
    );
    this.#source = takeStreams(server, (stream, headers, flags, rawHeaders) =>
      this.#onStream(stream, headers, flags, rawHeaders),
    );
  }

  accept(
    socket: Socket,
    _facts: ConnectionFacts,
    onHttpStream: StreamListener,
  ): ServerHttp2Session | undefined {
    this.#onHttpStream = onHttpStream;
    return this.#source.inject(socket);
  }

  drain(graceMs: number): void {
    this.#source.drain(graceMs);
  }

  close(): void {
    this.#source.destroy();
  }

  #onStream(
    stream: ServerHttp2Stream,
    headers: Parameters<StreamListener>[1],
    flags: number,
    rawHeaders: string[],
  ): void {
    stream.on('error', () => {});
    if (isLost(stream)) return;
    if (!isGrpc(headers['content-type'])) {
      this.#onHttpStream?.(stream, headers, flags, rawHeaders);
      return;
    }
    const connection = connectionFacts(stream.session?.socket);
    if (connection === undefined) {
      // Nobody of ours opened it; whoever did proved nothing.
      stream.session?.destroy();
      return;
    }
    if (this.#options.isStale?.(connection) === true) {
      this.#tellRefused(connection, 503);
      // Nothing was processed; clients call again over a connection that proves anew who they are. They must know that
      // this one ends before they know that they may.
      stream.session?.close();
      setImmediate(() => stream.close(constants.NGHTTP2_REFUSED_STREAM));
      return;
    }
    const view = new StreamHeaders(rawHeaders, headers);
    const clean = cleanHeaders(view);
    const isPost = headers[':method'] === 'POST';
    if ('fault' in clean || !isPost) {
      const fault = 'fault' in clean ? clean.fault : 'a method other than POST';
      this.#refuse(stream, connection, fault, isPost ? 400 : 405);
    } else this.#begin(stream, headers, flags, rawHeaders, view, connection, clean);
  }

  #tellRefused(connection: ConnectionFacts, httpStatus: number, fault?: string): void {
    const { onRefused, runtime } = this.#options;
    tellRefused(onRefused, { protocol: 'grpc', connection, httpStatus, fault, nowMs: runtime.now() });
  }

  #refuse(stream: ServerHttp2Stream, connection: ConnectionFacts, fault: string, httpStatus: number): void {
    const { peer } = connection;
    this.#tellRefused(connection, httpStatus, fault);
    this.#options.logger.warn(
      { fault, peer: peer?.id.uri, code: 'INMESH_ERR_HTTP_BAD_REQUEST' },
      'request refused',
    );
    stream.respond({ ':status': httpStatus }, { endStream: true });
    stream.resume();
  }

  /** Whoever says who it is learns who we are. */
  #introduce(connection: ConnectionFacts, { introduction }: CleanHost): readonly IntroductionLine[] {
    const { introductions } = this.#options;
    if (introduction === undefined || introductions === undefined || connection.peer === undefined) return [];
    introductions.hear(connection, introduction.id, introduction.text);
    return introductions.own;
  }

  #begin(
    stream: ServerHttp2Stream,
    headers: Parameters<StreamListener>[1],
    flags: number,
    rawHeaders: string[],
    view: StreamHeaders,
    connection: ConnectionFacts,
    clean: CleanHost,
  ): void {
    const { stack, live, logger, runtime } = this.#options;
    const { host, asksWhy } = clean;
    const target = { side: 'server', port: connection.localPort } as const;
    const path = String(headers[':path'] ?? '');
    const question = path.indexOf('?');
    const meter = new MessageMeter(stream);
    const call = new CallState({
      side: 'server',
      protocol: 'grpc',
      facts: {
        method: 'POST',
        path: question === -1 ? path : path.slice(0, question),
        authority: cleanAuthority(String(headers[':authority'] ?? host ?? '')),
        connection,
      },
      headers: view,
      messages: meter,
      operation: path,
      startedMs: runtime.now(),
      onCancel: (reason: MeshError) => serverCall.abort(reason),
    });
    if (asksWhy === true) call.set(askedWhy, true);
    const timeoutMs = parseTimeout(headers['grpc-timeout']);
    if (timeoutMs !== undefined) call.tightenDeadline(runtime.now() + timeoutMs);
    const serverCall: ServerCall = new ServerCall({
      call,
      plan: stack.plan(target),
      recheck: () => stack.plan(target).recheck(call),
      stream,
      meter,
      introduction: this.#introduce(connection, clean),
      live,
      logger,
      runtime,
      proceed: () => {
        this.#handedOver = call;
        this.#source.run(stream, headers, flags, rawHeaders);
        this.#handedOver = undefined;
      },
    });
    serverCall.begin();
  }
}

const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** `grpc-timeout`, in milliseconds. */
function parseTimeout(value: unknown): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(typeof value === 'string' ? value : '') ?? [];
  return digits === undefined ? undefined : Number(digits) * (unitMs[unit] ?? 1);
}

/**
 * Puts the mesh before a grpc-js server that exists, services and all. It needs no port of its own.
 *
 * @throws MeshError `INMESH_ERR_GRPC_SERVER` if it is attached already, or grpc-js is not one that is known.
 */
export function attachGrpcServer(server: Server, options: GrpcServerOptions): AttachedGrpcServer {
  if (attached.has(server))
    throw new MeshError('INMESH_ERR_GRPC_SERVER', 'this grpc-js server is attached already');
  const attachment = new Attachment(server, options);
  attached.add(server);
  return attachment;
}
