import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type CallState,
  type Halt,
  type Headers,
  type LiveCall,
  type LiveCalls,
  type Logger,
  MeshError,
  type Plan,
  type PlanRun,
  type Runtime,
  statusFromHttp,
  type Verdict,
} from '@inmesh/core';
import { type CountingSocket, StreamMeter, takeRead, takeWritten } from '@inmesh/identity';
import type { CloseListener } from './kept-events.js';
import { concludeResponse, overrule, replyFault, replyOf, sendRawReply, sendReply } from './local-reply.js';
import { operationOf } from './operation.js';

/** What an inbound call is answered through: a response, or the bare socket of an upgrade. */
export interface Exit {
  /** Status of the reply, 0 if none was sent. */
  readonly httpStatus: number;
  /** Whether the client is gone. */
  readonly isGone: boolean;
  /** Whether the reply was sent to its end. */
  readonly isComplete: boolean;
  /** The route that a framework found, as it was declared. */
  readonly operation: string | undefined;
  /** Takes the bytes of the request from the account of its connection; asked once, at the end. */
  takeRead(): number;
  /** Takes those of the reply. */
  takeWritten(): number;
  /** Answers instead of the handler. */
  reply(halt: Halt): void;
  /** Answers although the handler is at work: it may go on writing, to nobody. Cuts where an answer has begun. */
  overrule(halt: Halt): void;
  /** Cuts the exchange. */
  destroy(): void;
  /** Ends a reply that has no end of its own: a stream of events, a WebSocket. Anything else is left to be cut. */
  conclude(): void;
  /** The connection must not serve another request after this one. */
  closeAfter(): void;
  /** A layer takes its time: notice a client that leaves meanwhile. */
  watch(): void;
  /** Ends {@link Exit.watch}. */
  unwatch(): void;
}

/** An {@link Exit} through a response of HTTP/1. node:http notices itself when its client leaves. */
export class ResponseExit implements Exit {
  readonly #response: ServerResponse;
  /** The response lets go of it when it has ended. */
  readonly #socket: Socket;

  /** @param response - Not yet begun. @param socket - Its connection. */
  constructor(response: ServerResponse, socket: Socket) {
    this.#response = response;
    this.#socket = socket;
  }

  get operation(): string | undefined {
    return operationOf(this.#response.req);
  }

  takeRead(): number {
    return takeRead(this.#socket);
  }

  takeWritten(): number {
    return takeWritten(this.#socket);
  }

  get httpStatus(): number {
    return this.#response.headersSent ? this.#response.statusCode : 0;
  }

  get isGone(): boolean {
    return this.#response.destroyed || this.#response.socket?.destroyed === true;
  }

  get isComplete(): boolean {
    return this.#response.writableFinished;
  }

  reply(halt: Halt): void {
    sendReply(this.#response, replyOf(halt), false);
  }

  overrule(halt: Halt): void {
    overrule(this.#response, halt);
  }

  destroy(): void {
    this.#response.destroy();
  }

  conclude(): void {
    concludeResponse(this.#response);
  }

  closeAfter(): void {
    this.#response.shouldKeepAlive = false;
  }

  watch(): void {
    // node:http reads on.
  }

  unwatch(): void {
    // Nothing was begun.
  }
}

/** An {@link Exit} through a stream of HTTP/2. */
export class StreamExit implements Exit {
  readonly #response: Http2ServerResponse;
  readonly #stream: ServerHttp2Stream;
  readonly #meter: StreamMeter;

  /** @param response - Not yet begun. */
  constructor(response: Http2ServerResponse) {
    this.#response = response;
    this.#stream = response.stream;
    this.#meter = new StreamMeter(response.stream);
  }

  get operation(): string | undefined {
    return operationOf(this.#response.req);
  }

  takeRead(): number {
    return this.#meter.bytesRead;
  }

  takeWritten(): number {
    return this.#meter.bytesWritten;
  }

  get httpStatus(): number {
    return this.#response.headersSent ? this.#response.statusCode : 0;
  }

  get isGone(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  /** node:http2 ends, and so finishes, the writable side of a stream that its client resets. */
  get isComplete(): boolean {
    const { writableFinished, aborted, rstCode } = this.#stream;
    return writableFinished && !aborted && rstCode === 0;
  }

  reply(halt: Halt): void {
    sendReply(this.#response, replyOf(halt), false);
  }

  overrule(halt: Halt): void {
    overrule(this.#response, halt);
  }

  destroy(): void {
    this.#response.destroy();
  }

  conclude(): void {
    concludeResponse(this.#response);
  }

  closeAfter(): void {
    // The session got its GOAWAY.
  }

  watch(): void {
    // The session reads on.
  }

  unwatch(): void {
    // Nothing was begun.
  }
}

/** A close frame of a server with status 1001, "going away". RFC 6455 §5.5.1, §7.4.1. */
const goingAway = Uint8Array.of(0x88, 0x02, 0x03, 0xe9);

/** What a client of an upgrade or CONNECT may send before its answer, in bytes; nobody looks further. */
const maxEarlyBytes = 65_536;

function bytesWritten(socket: Duplex & { readonly bytesWritten?: number }): number {
  return socket.bytesWritten ?? 0;
}

/** node types the socket of a tunnel as any stream; it is the connection's. */
function counting(socket: Duplex): CountingSocket {
  return socket as Socket;
}

/** An {@link Exit} through the socket of an upgrade or CONNECT. */
export class SocketExit implements Exit {
  readonly #socket: Duplex;
  readonly #runtime: Runtime;
  readonly #isWebSocket: boolean;
  /** Bytes that the connection had sent before this: the handshake of the handler is still to come. */
  readonly #before: number;
  #httpStatus = 0;
  #stopWatching: (() => void) | undefined;

  /**
   * @param socket - Handed over by node:http, which reads no further.
   * @param isWebSocket - Whether the client asked for a WebSocket.
   */
  constructor(socket: Duplex, runtime: Runtime, isWebSocket: boolean) {
    this.#socket = socket;
    this.#runtime = runtime;
    this.#isWebSocket = isWebSocket;
    this.#before = bytesWritten(socket);
  }

  /** Routers see no tunnels. */
  get operation(): undefined {
    return undefined;
  }

  takeRead(): number {
    return takeRead(counting(this.#socket));
  }

  takeWritten(): number {
    return takeWritten(counting(this.#socket));
  }

  get httpStatus(): number {
    return this.#httpStatus;
  }

  get isGone(): boolean {
    return this.#socket.destroyed;
  }

  /** A tunnel ends when either side closes it. */
  get isComplete(): boolean {
    return this.#socket.errored === null;
  }

  reply(halt: Halt): void {
    const reply = replyOf(halt);
    this.#httpStatus = reply.httpStatus;
    sendRawReply(this.#socket, reply, this.#runtime);
  }

  overrule(): void {
    this.#socket.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  conclude(): void {
    if (!this.#isWebSocket || this.#httpStatus !== 0 || bytesWritten(this.#socket) === this.#before) return;
    this.#socket.write(goingAway);
    this.#socket.end();
    // Whoever reads no further does not see the other side close.
    this.#socket.resume();
  }

  closeAfter(): void {
    // A tunnel has its connection for itself.
  }

  /** Reads ahead: who does not read does not see the other side close. The bytes are put back. */
  watch(): void {
    const socket = this.#socket;
    const early: Buffer[] = [];
    let bytes = 0;
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      early.push(chunk);
      bytes += chunk.length;
      if (bytes > maxEarlyBytes) socket.removeListener('readable', onReadable);
    };
    // Before its answer no client closes its half only.
    const onEnd = (): void => {
      socket.destroy();
    };
    socket.on('readable', onReadable);
    socket.once('end', onEnd);
    this.#stopWatching = () => {
      socket.removeListener('readable', onReadable);
      socket.removeListener('end', onEnd);
      if (early.length > 0 && !socket.destroyed) socket.unshift(Buffer.concat(early));
    };
  }

  unwatch(): void {
    this.#stopWatching?.();
    this.#stopWatching = undefined;
  }
}

/** An inbound HTTP call from its head to its last byte. */
export class ServerCall implements PlanRun, LiveCall, CloseListener {
  entered = 0;
  hasEnded = false;
  liveNext: LiveCall | undefined;
  livePrevious: LiveCall | undefined;
  readonly call: CallState;
  readonly #plan: Plan;
  readonly #recheck: () => Verdict;
  readonly #exit: Exit;
  readonly #proceed: () => void;
  readonly #live: LiveCalls;
  readonly #logger: Logger;
  #isDecided = false;
  #isLocalReply = false;
  #error: MeshError | undefined;

  /**
   * @param recheck - Decides again under the plan in force by then.
   * @param proceed - Runs the handler.
   */
  constructor(
    call: CallState,
    plan: Plan,
    recheck: () => Verdict,
    exit: Exit,
    live: LiveCalls,
    logger: Logger,
    proceed: () => void,
  ) {
    this.call = call;
    this.#plan = plan;
    this.#recheck = recheck;
    this.#exit = exit;
    this.#live = live;
    this.#logger = logger;
    this.#proceed = proceed;
  }

  /** Starts the plan. */
  begin(): void {
    this.#live.add(this);
    this.#plan.begin(this, this.call);
    if (!this.#isDecided) this.#exit.watch();
  }

  /** After the last byte, or when the client is gone. */
  onClose(): void {
    this.#end();
  }

  onPass(): void {
    this.#decided();
    // After an asynchronous layer the client may be gone: a handler started now would never see it close.
    if (this.#exit.isGone) this.#end();
    else this.#proceed();
  }

  onHalt(asked: Halt): void {
    this.#decided();
    const halt = this.#checked(asked);
    this.#isLocalReply = true;
    if (halt.kind === 'reject') this.#error = halt.error;
    if (this.#exit.isGone) this.#end();
    else this.#exit.reply(halt);
  }

  /** The head of the reply is about to be written. */
  onHead(httpStatus: number, headers: Headers): void {
    this.#plan.head(this, this.call, { httpStatus, grpcStatus: undefined, headers });
  }

  recheck(): Verdict {
    return this.#recheck();
  }

  onRevoked(halt: Halt): void {
    this.#error =
      halt.kind === 'reject'
        ? halt.error
        : new MeshError('INMESH_ERR_AUTHZ_DENIED', 'the call is no longer allowed');
    this.#isLocalReply = true;
    this.call.cancel(this.#error);
  }

  /** Cuts the exchange; for {@link CallState}. */
  abort(reason: MeshError): void {
    this.#error ??= reason;
    // Out of time: the caller is told, if there is still somebody to tell.
    if (reason.code !== 'INMESH_ERR_DEADLINE_EXCEEDED') this.#exit.destroy();
    else {
      this.#isLocalReply = true;
      this.#exit.overrule({ kind: 'reject', error: reason });
    }
  }

  conclude(): void {
    if (!this.#isDecided || this.#isLocalReply) return;
    this.#error ??= new MeshError('INMESH_ERR_CLOSED', 'the listener closed before the reply ended', {
      stackless: true,
    });
    this.#exit.conclude();
  }

  /** The listener drains: this connection is not to be used again. */
  closeAfter(): void {
    this.#exit.closeAfter();
  }

  #decided(): void {
    this.#isDecided = true;
    this.#exit.unwatch();
  }

  /** A reply that node would refuse is a fault of the layer that made it. */
  #checked(halt: Halt): Halt {
    const fault = halt.reply === undefined ? undefined : replyFault(halt.reply);
    if (fault === undefined) return halt;
    const error = new MeshError('INMESH_ERR_LAYER_THREW', `the reply of a layer cannot be sent: ${fault}`);
    this.#logger.error({ error, code: error.code, path: this.call.facts.path }, 'a layer threw');
    return { kind: 'reject', error };
  }

  #end(): void {
    if (this.hasEnded) return;
    const { httpStatus } = this.#exit;
    // A tunnel that closes before its answer closes without an error.
    const isComplete = this.#isDecided && this.#exit.isComplete;
    if (!isComplete)
      this.#error ??= new MeshError('INMESH_ERR_CANCELLED', 'the client left before the reply ended', {
        stackless: true,
      });
    const error = this.#error;
    this.call.finish(isComplete ? undefined : error);
    this.call.operation ??= this.#exit.operation;
    this.#plan.end(this, this.call, {
      status: error?.status ?? statusFromHttp(httpStatus),
      httpStatus,
      error,
      isLocalReply: this.#isLocalReply,
      requestBytes: this.#exit.takeRead(),
      responseBytes: this.#exit.takeWritten(),
    });
    this.#live.delete(this);
  }
}
