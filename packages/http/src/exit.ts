import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Halt } from '@inmesh/core';
import { StreamMeter, takeRead, takeWritten } from '@inmesh/identity';
import { concludeResponse, overrule, replyOf, sendReply } from './local-reply.js';
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
    return this.#response.destroyed || this.#socket.destroyed;
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
