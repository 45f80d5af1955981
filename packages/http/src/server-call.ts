import type { Duplex } from 'node:stream';
import {
  type CallState,
  type Halt,
  type Headers,
  type LiveCall,
  type LiveCalls,
  MeshError,
  type Plan,
  type PlanRun,
  statusFromHttp,
  type Verdict,
} from '@inmesh/core';
import { type AnyResponse, mute, replyOf, sendRawReply, sendReply } from './local-reply.js';

/** What an inbound call is answered through: a response, or the bare socket of an upgrade. */
export interface Exit {
  /** Status of the reply, 0 if none was sent. */
  readonly httpStatus: number;
  /** Whether the client is gone. */
  readonly isGone: boolean;
  /** Whether the reply was sent to its end. */
  readonly isComplete: boolean;
  /** Answers instead of the handler. */
  reply(halt: Halt): void;
  /** Answers although the handler is at work: it may go on writing, to nobody. Cuts where an answer has begun. */
  overrule(halt: Halt): void;
  /** Cuts the exchange. */
  destroy(): void;
  /** The connection must not serve another request after this one. */
  closeAfter(): void;
  /** Calls `listener` once, after the last byte or when the client is gone. */
  onClose(listener: () => void): void;
}

/** An {@link Exit} through a response. */
export class ResponseExit implements Exit {
  readonly #response: AnyResponse;

  /** @param response - Of either protocol. */
  constructor(response: AnyResponse) {
    this.#response = response;
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
    if (this.#response.headersSent) {
      this.#response.destroy();
      return;
    }
    sendReply(this.#response, replyOf(halt), true);
    mute(this.#response);
  }

  destroy(): void {
    this.#response.destroy();
  }

  closeAfter(): void {
    if ('shouldKeepAlive' in this.#response) this.#response.shouldKeepAlive = false;
  }

  onClose(listener: () => void): void {
    this.#response.once('close', listener);
  }
}

/** An {@link Exit} through the socket of an upgrade or CONNECT. */
export class SocketExit implements Exit {
  readonly #socket: Duplex;
  #httpStatus = 0;

  /** @param socket - Handed over by node:http. */
  constructor(socket: Duplex) {
    this.#socket = socket;
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
    sendRawReply(this.#socket, reply);
  }

  overrule(): void {
    this.#socket.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  closeAfter(): void {
    // A tunnel has its connection for itself.
  }

  onClose(listener: () => void): void {
    this.#socket.once('close', listener);
  }
}

/** An inbound HTTP call from its head to its last byte. */
export class ServerCall implements PlanRun, LiveCall {
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
    proceed: () => void,
  ) {
    this.call = call;
    this.#plan = plan;
    this.#recheck = recheck;
    this.#exit = exit;
    this.#live = live;
    this.#proceed = proceed;
  }

  /** Starts the plan. */
  begin(): void {
    this.#live.add(this);
    this.#exit.onClose(() => this.#end());
    this.#plan.begin(this, this.call);
  }

  onPass(): void {
    // After an asynchronous layer the client may be gone: a handler started now would never see it close.
    if (this.#exit.isGone) this.#end();
    else this.#proceed();
  }

  onHalt(halt: Halt): void {
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

  /** The listener drains: this connection is not to be used again. */
  closeAfter(): void {
    this.#exit.closeAfter();
  }

  #end(): void {
    if (this.hasEnded) return;
    const { httpStatus, isComplete } = this.#exit;
    if (!isComplete)
      this.#error ??= new MeshError('INMESH_ERR_CANCELLED', 'the client left before the reply ended', {
        stackless: true,
      });
    const error = this.#error;
    this.call.finish(isComplete ? undefined : error);
    this.#plan.end(this, this.call, {
      status: error?.status ?? statusFromHttp(httpStatus),
      httpStatus,
      error,
      isLocalReply: this.#isLocalReply,
    });
    this.#live.delete(this);
  }
}
