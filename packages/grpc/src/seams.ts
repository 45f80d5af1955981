import type {
  Http2Server,
  ServerOptions as Http2ServerOptions,
  ServerHttp2Session,
  ServerHttp2Stream,
} from 'node:http2';
import { createRequire } from 'node:module';
import type { Duplex } from 'node:stream';
import {
  type experimental,
  type Metadata,
  type Server,
  ServerCredentials,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerOptions,
  type StatusObject,
} from '@grpc/grpc-js';
import { MeshError } from '@inmesh/core';

/**
 * Everything of grpc-js that is not its public API, in one file. `test/seams.contract.test.ts` says what each seam
 * must do; it runs on every Node line that is supported, and is the first to fail when grpc-js changes.
 */

/** A listener for HTTP/2 streams, as node:http2 calls it. */
export type StreamListener = (
  stream: ServerHttp2Stream,
  headers: Record<string, string | string[] | undefined>,
  flags: number,
  rawHeaders: string[],
) => void;

/** A grpc-js server without a port: connections go in, streams come out. */
export interface StreamSource {
  /** Takes an HTTP/2 connection. @returns its session, unless it is closed already */
  inject(connection: Duplex): ServerHttp2Session | undefined;
  /** Sends GOAWAY on every connection; cuts them after `graceMs`. */
  drain(graceMs: number): void;
  /** Cuts every connection. */
  destroy(): void;
  /** Runs a stream's RPC. */
  readonly run: StreamListener;
}

/** Streams of one connection at once, unless the server was told: grpc-js has no bound. Same as Envoy's `max_concurrent_streams`. */
const maxConcurrentStreams = 1024;

/**
 * Headers of one request, pseudo headers included, that our gRPC servers take and our clients send. node:http2 takes 128
 * and resets the stream for more; their bytes are bounded in any case, to 64 KiB.
 */
export const maxHeaderListPairs = 1000;

interface ServerInternals {
  readonly options?: ServerOptions;
  /** Handed to node:http2. */
  commonServerOptions?: Http2ServerOptions;
  _setupHandlers?: (http2Server: Http2Server, ...rest: unknown[]) => void;
  interceptors?: ServerInterceptor[];
}

function unsupported(what: string): MeshError {
  const { version } = createRequire(import.meta.url)('@grpc/grpc-js/package.json') as { version: string };
  return new MeshError(
    'INMESH_ERR_GRPC_SERVER',
    `@grpc/grpc-js ${version} has no ${what}; Inmesh works with 1.14`,
  );
}

/**
 * Takes the streams of `server` before it does. The HTTP/2 server behind `createConnectionInjector` is private; it
 * is caught in the method that sets it up.
 *
 * @param onStream - Sees every stream first.
 */
export function takeStreams(server: Server, onStream: StreamListener): StreamSource {
  const internals = server as unknown as ServerInternals;
  const original = internals._setupHandlers;
  if (typeof original !== 'function') throw unsupported('_setupHandlers');
  let caught: Http2Server | undefined;
  const setUp: typeof original = (http2Server, ...rest) => {
    caught = http2Server;
    original.call(server, http2Server, ...rest);
  };
  internals._setupHandlers = setUp;
  const { commonServerOptions } = internals;
  // Without it node:http2 has its own bound.
  if (commonServerOptions !== undefined)
    internals.commonServerOptions = { ...commonServerOptions, maxHeaderListPairs };
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  internals._setupHandlers = original;
  if (commonServerOptions !== undefined) internals.commonServerOptions = commonServerOptions;
  const http2Server = caught;
  const listeners = (http2Server?.listeners('stream') ?? []) as StreamListener[];
  if (http2Server === undefined || listeners.length === 0)
    throw unsupported('stream handler behind its connection injector');
  if (internals.options?.['grpc.max_concurrent_streams'] === undefined)
    http2Server.updateSettings({ maxConcurrentStreams });
  http2Server.removeAllListeners('stream');
  http2Server.on('stream', onStream as never);
  return {
    inject(connection) {
      let session: ServerHttp2Session | undefined;
      const note = (one: ServerHttp2Session): void => {
        session = one;
      };
      // node:http2 makes it before this returns.
      http2Server.on('session', note);
      injector.injectConnection(connection);
      http2Server.off('session', note);
      return session;
    },
    drain: (graceMs) => injector.drain(graceMs),
    destroy: () => injector.destroy(),
    run(stream, headers, flags, rawHeaders) {
      for (const listener of listeners) listener.call(http2Server, stream, headers, flags, rawHeaders);
    },
  };
}

/** Adds an interceptor to a server that exists; the constructor is the only public way. */
export function addInterceptor(server: Server, interceptor: ServerInterceptor): void {
  const { interceptors } = server as unknown as ServerInternals;
  if (!Array.isArray(interceptors)) throw unsupported('list of interceptors');
  interceptors.unshift(interceptor);
}

type Subchannel = ReturnType<experimental.SubchannelInterface['getRealSubchannel']>;
type CreateCall = Parameters<Subchannel['createCall']>;

/** The call of one attempt on the wire. */
export type SubchannelCall = ReturnType<Subchannel['createCall']>;
/** Told of the reply of one attempt. */
export type AttemptListener = CreateCall[3];

/** What a call of grpc-js asks of the subchannel that a picker gives it; subchannels have more. */
export interface AttemptSubchannel
  extends Pick<
    experimental.SubchannelInterface,
    'getAddress' | 'getCallCredentials' | 'getChannelzRef' | 'getConnectivityState'
  > {
  /** Starts the attempt. */
  getRealSubchannel(): { createCall(...args: CreateCall): SubchannelCall };
}

/** A pick result whose subchannel only does what an attempt needs: an object per attempt instead of wrappers. */
export function toPickResult(pick: {
  readonly pickResultType: experimental.PickResultType;
  readonly subchannel: AttemptSubchannel;
}): experimental.PickResult {
  return pick as unknown as experimental.PickResult;
}

/** What a config selector leaves for the picker; texts by type, anything in fact. */
type PickInformation = experimental.PickArgs['extraPickInfo'];

/** Sends an object from the config selector to the picker. */
export function toPickInformation(rpc: object): PickInformation {
  return rpc as unknown as PickInformation;
}

/** What a filter returns to end an RPC with a status: grpc-js takes the reason for one. */
export function rejectWith(status: StatusObject): Promise<never> {
  return Promise.reject(status as unknown as Error);
}

/** Calls `listener` when the caller's last message has been handed over. */
export function onHalfClose(call: SubchannelCall, listener: () => void): void {
  const halfClose = call.halfClose.bind(call);
  const told = (): void => {
    listener();
    halfClose();
  };
  call.halfClose = told;
}

/** Shows `counter` each message, framed and compressed, that the caller sends. */
export function onMessage(call: SubchannelCall, counter: { onSendMessage(message: Buffer): void }): void {
  const send = call.sendMessageWithContext.bind(call);
  const counted: typeof send = (context, message) => {
    counter.onSendMessage(message);
    send(context, message);
  };
  call.sendMessageWithContext = counted;
}

/** Metadata that a server's call hands to its handler, before it does. */
export function metadataOf(call: object): Metadata | undefined {
  const { metadata } = call as { readonly metadata?: Metadata };
  return metadata;
}

type SentStatus = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

/** A half of a surrogate pair, which has no encoding. */
const halfPair = /\p{Surrogate}/u;

/** Shared by all calls: no closure for each. */
function sendWellFormed(this: ServerInterceptingCallInterface, status: SentStatus): void {
  const plain = Object.getPrototypeOf(this) as ServerInterceptingCallInterface;
  const { details } = status;
  const isFit = typeof details !== 'string' || !halfPair.test(details);
  plain.sendStatus.call(this, isFit ? status : { ...status, details: Buffer.from(details).toString() });
}

/**
 * Keeps a status whose details have half a surrogate pair, such as what a caller sent cut in two, from ending the
 * process: grpc-js encodes them inside an event, and that throws.
 */
export function guardDetails(call: ServerInterceptingCallInterface): void {
  call.sendStatus = sendWellFormed;
}

/** What a server's call tells its handler. */
type ServerListener = Parameters<ServerInterceptingCallInterface['start']>[0];

/** Shows `look` the listener of a server's call before the call gets it. */
export function onStart(
  call: ServerInterceptingCallInterface,
  look: (listener: ServerListener) => void,
): void {
  const start = call.start.bind(call);
  const shown = (listener: ServerListener): void => {
    look(listener);
    start(listener);
  };
  call.start = shown;
}

/** Runs a method of a listener inside `around`. */
export function wrapMethod(
  listener: ServerListener,
  name: keyof ServerListener,
  around: (run: () => void) => void,
): void {
  const original = listener[name] as (value: unknown) => void;
  const wrapped = (value: unknown): void => around(() => original.call(listener, value));
  (listener as Record<typeof name, typeof original>)[name] = wrapped;
}

/** Names and values of metadata, without a copy where that is possible. */
export function entriesOf(metadata: Metadata): Iterable<readonly [string, readonly (Buffer | string)[]]> {
  const { internalRepr } = metadata as unknown as {
    readonly internalRepr?: ReadonlyMap<string, readonly (Buffer | string)[]>;
  };
  return internalRepr ?? Object.keys(metadata.getMap()).map((name) => [name, metadata.get(name)] as const);
}
