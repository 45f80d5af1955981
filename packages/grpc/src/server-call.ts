import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import {
  type CallState,
  createTimer,
  grpcStatusNumber,
  type Halt,
  type IntroductionLine,
  type LiveCall,
  type LiveCalls,
  type LocalReply,
  type Logger,
  MeshError,
  type Plan,
  type PlanRun,
  type Runtime,
  type StatusCode,
  sendableHeaders,
  statusFromGrpcNumber,
  type Verdict,
} from '@inmesh/core';
import { forbidsRetry } from '@inmesh/resilience';
import { encodeMessage, statusOfHalt, type WireStatus } from './grpc-status.js';
import { checkedHalt } from './local-reply.js';
import type { MessageMeter } from './message-meter.js';
import { ReplyHeaders } from './reply-headers.js';
import { pushbackHeader } from './retry-gate.js';
import { makeReplySendable, sendReply } from './sendable-reply.js';

/** How long a stopped call may take to send its status before the stream is cut. */
const stopMs = 250;

/** What a {@link ServerCall} needs. */
export interface ServerCallParts {
  /** The call. */
  readonly call: CallState;
  /** The plan it began with. */
  readonly plan: Plan;
  /** Decides again under the plan in force by then. */
  readonly recheck: () => Verdict;
  /** Its stream. */
  readonly stream: ServerHttp2Stream;
  /** Counts what goes over it. */
  readonly meter: MessageMeter;
  /** Headers of the reply that say who we are. */
  readonly introduction: readonly IntroductionLine[];
  /** Calls in flight. */
  readonly live: LiveCalls;
  /** Told of replies of layers that cannot be sent. */
  readonly logger: Logger;
  /** Time. */
  readonly runtime: Runtime;
  /** Runs the handler. */
  readonly proceed: () => void;
}

/** An inbound RPC from its head to its last byte. */
export class ServerCall implements PlanRun, LiveCall {
  entered = 0;
  hasEnded = false;
  liveNext: LiveCall | undefined;
  livePrevious: LiveCall | undefined;
  readonly #parts: ServerCallParts;
  #status: StatusCode | undefined;
  #error: MeshError | undefined;
  #isLocalReply = false;
  /** Whether we ended it while its handler runs, which may not know: what it sends is ignored. */
  #isStopped = false;

  /** What its stream does where nobody watches. */
  readonly #respond: ServerHttp2Stream['respond'];
  readonly #sendTrailers: ServerHttp2Stream['sendTrailers'];

  /** @param parts - What it is made of. */
  constructor(parts: ServerCallParts) {
    const { stream } = parts;
    this.#parts = parts;
    this.#respond = stream.respond.bind(stream);
    this.#sendTrailers = stream.sendTrailers.bind(stream);
  }

  get call(): CallState {
    return this.#parts.call;
  }

  /** Starts the plan. */
  begin(): void {
    const { live, plan, call, stream } = this.#parts;
    live.add(this);
    stream.once('close', () => this.#end());
    plan.begin(this, call);
  }

  onPass(): void {
    const { stream, proceed } = this.#parts;
    if (stream.destroyed || stream.closed) {
      this.#end();
      return;
    }
    this.#watch(stream);
    proceed();
  }

  onHalt(given: Halt): void {
    const halt = this.#checked(given);
    this.#isLocalReply = true;
    if (halt.kind === 'reject') this.#error = halt.error;
    this.#answer(statusOfHalt(halt), halt.reply);
  }

  recheck(): Verdict {
    return this.#parts.recheck();
  }

  onRevoked(given: Halt): void {
    const halt = this.#checked(given);
    this.#isLocalReply = true;
    this.#error =
      halt.kind === 'reject'
        ? halt.error
        : new MeshError('INMESH_ERR_AUTHZ_DENIED', 'the call is no longer allowed');
    this.#stop(statusOfHalt(halt));
    this.#parts.call.finish(this.#error);
  }

  conclude(): void {
    this.#parts.call.cancel(
      new MeshError('INMESH_ERR_CLOSED', 'the listener closed before the call ended', { stackless: true }),
    );
  }

  /** Somebody cancelled the call; for {@link CallState}. */
  abort(reason: MeshError): void {
    this.#error ??= reason;
    const message = reason.code === 'INMESH_ERR_CLOSED' ? reason.message : '';
    this.#stop({ status: reason.status, code: grpcStatusNumber(reason.status), message });
  }

  #checked(given: Halt): Halt {
    const halt = checkedHalt(given);
    if (halt === given || halt.kind !== 'reject') return given;
    const { call, logger } = this.#parts;
    const { error } = halt;
    logger.error({ error, code: error.code, path: call.facts.path }, 'a layer threw');
    return halt;
  }

  #answer({ status, code, message }: WireStatus, reply?: LocalReply): void {
    const { stream } = this.#parts;
    this.#status = status;
    if (stream.destroyed || stream.closed) return;
    const head: OutgoingHttpHeaders = {
      ':status': 200,
      'content-type': 'application/grpc',
      'grpc-status': String(code),
      'grpc-message': encodeMessage(message),
    };
    if (reply !== undefined)
      for (const [name, value] of sendableHeaders(reply)) head[name.toLowerCase()] ??= value;
    this.#sendHead(this.#showHead(head), { endStream: true });
    // What the caller still sends is of no use to anybody; that it goes on would keep the call for ever. RFC 9113 §8.1
    stream.resume();
    this.#cutLater(constants.NGHTTP2_NO_ERROR);
  }

  #cutLater(code: number): void {
    const { stream, runtime } = this.#parts;
    const cut = createTimer(() => stream.close(code));
    runtime.arm(cut, stopMs);
    stream.once('close', () => runtime.disarm(cut));
  }

  /** Ends a running call: its status if the caller reads, a reset if it does not. */
  #stop(status: WireStatus): void {
    const { stream } = this.#parts;
    if (stream.destroyed || stream.closed || this.#isStopped) return;
    this.#isStopped = true;
    if (!stream.headersSent) {
      this.#answer(status);
      return;
    }
    this.#status = status.status;
    this.#cutLater(constants.NGHTTP2_CANCEL);
    stream.removeAllListeners('wantTrailers');
    stream.once('wantTrailers', () => {
      const trailers = {
        'grpc-status': String(status.code),
        'grpc-message': encodeMessage(status.message),
      };
      makeReplySendable(trailers);
      this.#sendTrailers(trailers);
    });
    stream.end();
    stream.resume();
  }

  /** Shows the head of the reply to the layers; what they write goes out. */
  #showHead(head: OutgoingHttpHeaders): OutgoingHttpHeaders {
    const { plan, call, introduction } = this.#parts;
    for (const [name, value] of introduction) head[name] = value;
    if (plan.watchesHead)
      plan.head(this, call, {
        httpStatus: 200,
        grpcStatus: this.#status,
        headers: new ReplyHeaders(head),
      });
    // Only a head that is the end as well can be repeated: a status that follows a head never is.
    const isFailure = this.#status !== undefined && this.#status !== 'ok';
    if (isFailure && forbidsRetry(call)) head[pushbackHeader] = '-1';
    return head;
  }

  /** Sees the head and the status that the handler's server sends. */
  #watch(stream: ServerHttp2Stream): void {
    const respond = (given: OutgoingHttpHeaders = {}, options?: object): void => {
      // It would throw into the handler.
      if (this.#isStopped) return;
      const status = given['grpc-status'];
      if (status !== undefined) this.#status = statusFromGrpcNumber(Number(status));
      this.#sendHead(this.#showHead(given), options);
    };
    const sendTrailers = (trailers: OutgoingHttpHeaders): void => {
      if (this.#isStopped) return;
      this.#status ??= statusFromGrpcNumber(Number(trailers['grpc-status'] ?? 2));
      const unsent = sendReply(trailers, stream, () => this.#sendTrailers(trailers));
      if (unsent !== undefined) this.#sendTrailers(this.#replaced(unsent));
    };
    stream.respond = respond as ServerHttp2Stream['respond'];
    stream.sendTrailers = sendTrailers;
  }

  /** Sends a head; if it cannot be sent, a status ends the call in its place. */
  #sendHead(head: OutgoingHttpHeaders, options: object | undefined): void {
    const { introduction, stream } = this.#parts;
    const unsent = sendReply(head, stream, () => this.#respond(head, options));
    if (unsent === undefined) return;
    const status: OutgoingHttpHeaders = {
      ':status': 200,
      'content-type': 'application/grpc',
      ...this.#replaced(unsent),
    };
    for (const [name, value] of introduction) status[name] = value;
    this.#respond(status, { endStream: true });
    stream.resume();
    this.#cutLater(constants.NGHTTP2_NO_ERROR);
  }

  /** What is sent in place of what could not be; whatever the handler sends from now on is ignored. */
  #replaced(error: MeshError): OutgoingHttpHeaders {
    const { call, logger } = this.#parts;
    logger.error({ error, code: error.code, path: call.facts.path }, 'a reply could not be sent');
    this.#isStopped = true;
    this.#isLocalReply = true;
    this.#error ??= error;
    this.#status = error.status;
    return {
      'grpc-status': String(grpcStatusNumber(error.status)),
      'grpc-message': encodeMessage(error.message),
    };
  }

  #end(): void {
    if (this.hasEnded) return;
    const { plan, call, live, stream, meter } = this.#parts;
    if (this.#status === undefined)
      this.#error ??= new MeshError('INMESH_ERR_CANCELLED', 'the caller left before the call ended', {
        stackless: true,
      });
    const error = this.#error;
    call.finish(error);
    plan.end(this, call, {
      status: this.#status ?? error?.status ?? 'unknown',
      httpStatus: stream.headersSent ? 200 : 0,
      error,
      isLocalReply: this.#isLocalReply,
      requestBytes: meter.bytesRead,
      responseBytes: meter.bytesWritten,
    });
    live.delete(this);
  }
}
