import type { Duplex } from 'node:stream';
import {
  CallState,
  FlatHeaders,
  type Halt,
  httpStatusOf,
  MeshError,
  type Plan,
  type PlanRun,
  statusFromHttp,
} from '@inmesh/core';
import { translateError } from './client-errors.js';
import type { EndpointPool } from './endpoint-pool.js';
import type { LegacyHandler, RawField } from './legacy-handler.js';

/** One outbound call: from the caller's handler through the layers to a connection and back. */
export class ClientExchange implements PlanRun, LegacyHandler {
  entered = 0;
  hasEnded = false;
  readonly #plan: Plan;
  readonly #call: CallState;
  readonly #caller: LegacyHandler;
  readonly #send: (exchange: ClientExchange) => EndpointPool;
  #pool: EndpointPool | undefined;
  #abort: ((reason?: Error) => void) | undefined;
  #reason: Error | undefined;
  #httpStatus = 0;

  /** @param send - Picks an endpoint and sends the request; throws if it cannot. */
  constructor(
    plan: Plan,
    call: CallState,
    caller: LegacyHandler,
    send: (exchange: ClientExchange) => EndpointPool,
  ) {
    this.#plan = plan;
    this.#call = call;
    this.#caller = caller;
    this.#send = send;
  }

  /** Starts the plan. */
  begin(): void {
    this.#plan.begin(this, this.#call);
  }

  /** Cuts the exchange; for {@link CallState}. */
  cancel(reason: MeshError): void {
    this.#reason = reason;
    if (this.#abort === undefined) this.onError(reason);
    else this.#abort(reason);
  }

  onPass(): void {
    // A layer may have cancelled the call and let it pass all the same.
    if (this.hasEnded) return;
    try {
      this.#pool = this.#send(this);
    } catch (error) {
      this.onError(error instanceof Error ? error : new Error(String(error)));
    }
  }

  onHalt(halt: Halt): void {
    if (halt.kind === 'reply' || halt.reply !== undefined) this.#reply(halt);
    else this.onError(halt.error);
  }

  onConnect(abort: (reason?: Error) => void, context?: unknown): void {
    this.#abort = abort;
    if (this.#reason === undefined) this.#caller.onConnect?.(abort, context);
    else abort(this.#reason);
  }

  onUpgrade(statusCode: number, rawHeaders: readonly RawField[], socket: Duplex): void {
    this.#httpStatus = statusCode;
    socket.once('close', () => this.#end(undefined, false));
    this.#caller.onUpgrade?.(statusCode, this.#head(statusCode, rawHeaders), socket);
  }

  onResponseStarted(): void {
    this.#caller.onResponseStarted?.();
  }

  onHeaders(
    statusCode: number,
    rawHeaders: readonly RawField[],
    resume: () => void,
    statusText: string,
  ): boolean {
    if (statusCode < 200) return this.#caller.onHeaders?.(statusCode, rawHeaders, resume, statusText) ?? true;
    this.#httpStatus = statusCode;
    return (
      this.#caller.onHeaders?.(statusCode, this.#head(statusCode, rawHeaders), resume, statusText) ?? true
    );
  }

  onData(chunk: Buffer): boolean {
    return this.#caller.onData?.(chunk) ?? true;
  }

  onComplete(rawTrailers: readonly RawField[]): void {
    this.#end(undefined, false);
    this.#caller.onComplete?.(rawTrailers);
  }

  onError(error: Error): void {
    const told =
      this.#reason ?? translateError(error, this.#call.cluster ?? '', this.#pool?.address ?? 'no endpoint');
    this.#end(told, false);
    this.#caller.onError?.(told);
  }

  onBodySent(chunkSize: number, totalBytesSent: number): void {
    this.#caller.onBodySent?.(chunkSize, totalBytesSent);
  }

  onRequestSent(): void {
    this.#caller.onRequestSent?.();
  }

  /** Shows the head to the layers; what they write reaches the caller. */
  #head(httpStatus: number, rawHeaders: readonly RawField[]): readonly RawField[] {
    if (!this.#plan.watchesHead) return rawHeaders;
    const headers = new FlatHeaders(
      rawHeaders.map((field) => (Buffer.isBuffer(field) ? field.toString('latin1') : String(field))),
    );
    this.#plan.head(this, this.#call, { httpStatus, grpcStatus: undefined, headers });
    return headers.raw.map((text) => Buffer.from(text, 'latin1'));
  }

  /** A layer answers: the caller sees a reply as from the wire. */
  #reply(halt: Halt): void {
    const error = halt.kind === 'reject' ? halt.error : undefined;
    const reply = halt.reply ?? { httpStatus: error === undefined ? 200 : httpStatusOf(error.status) };
    const body = typeof reply.body === 'string' ? Buffer.from(reply.body) : Buffer.from(reply.body ?? []);
    let isAborted = false;
    this.#caller.onConnect?.((reason) => {
      isAborted = true;
      this.#end(reason ?? error, true);
      this.#caller.onError?.(reason ?? new MeshError('INMESH_ERR_CANCELLED', 'the caller aborted'));
    });
    if (isAborted) return;
    this.#httpStatus = reply.httpStatus;
    const fields = [...(reply.headers ?? []), ['content-length', String(body.length)] as const].flatMap(
      ([name, value]) => [Buffer.from(name), Buffer.from(value)],
    );
    const finish = (): void => {
      if (isAborted) return;
      this.#end(error, true);
      this.#caller.onComplete?.([]);
    };
    const sendBody = (): void => {
      if (isAborted) return;
      if (body.length === 0 || this.#caller.onData?.(body) !== false) finish();
    };
    let isWaitingForBody = true;
    const resume = (): void => {
      if (!isWaitingForBody) finish();
      else {
        isWaitingForBody = false;
        sendBody();
      }
    };
    const head = this.#head(reply.httpStatus, fields);
    if (this.#caller.onHeaders?.(reply.httpStatus, head, resume, '') !== false) resume();
  }

  #end(error: Error | undefined, isLocalReply: boolean): void {
    if (this.hasEnded) return;
    const meshError =
      error === undefined || error instanceof MeshError
        ? error
        : new MeshError('INMESH_ERR_CANCELLED', `the caller ended the call: ${error.message}`, {
            cause: error,
            stackless: true,
          });
    this.#call.finish(meshError);
    this.#plan.end(this, this.#call, {
      status: meshError?.status ?? statusFromHttp(this.#httpStatus),
      httpStatus: this.#httpStatus,
      error: meshError,
      isLocalReply,
    });
  }
}
