import type { Duplex } from 'node:stream';
import { type AttemptTrace, type ConnectionFacts, type IntroductionLine, MeshError } from '@inmesh/core';
import { takeRead, takeWritten } from '@inmesh/identity';
import type { Attempt, CallDriver, EndpointState, Tried } from '@inmesh/resilience';
import type { Dispatcher } from 'undici';
import { translateError } from './client-errors.js';
import type { ConnectionPool, PooledConnection, PoolRequest } from './connection-pool.js';
import type { LegacyHandler, RawField } from './legacy-handler.js';
import type { PreparedRequest } from './outbound-request.js';
import { RawReply } from './raw-reply.js';
import type { BodyReader } from './replay-body.js';

/** What is read of a reply nobody wants, in bytes, before its connection is given up instead. */
const maxDrainBytes = 65_536;

/** The call an attempt belongs to: gets what the driver lets through. */
export interface AttemptOwner {
  /** Decides about heads and errors. */
  readonly driver: CallDriver;
  /** The request of its attempt number `number`, the first being 1. */
  prepare(
    number: number,
    trace: AttemptTrace | undefined,
    introduction: readonly IntroductionLine[],
  ): PreparedRequest;
  /** An attempt is being sent. */
  onSent(connection: ConnectionFacts | undefined): void;
  /** Reads a discarded reply for at most this long, then cuts it; returns how to stop the clock. */
  limitDrain(cut: () => void): () => void;
  /** A reply of status below 200, other than 101. */
  onInformation(
    statusCode: number,
    rawHeaders: readonly RawField[],
    resume: () => void,
    text: string,
  ): boolean;
  /** The head that the caller gets. */
  onHead(statusCode: number, reply: RawReply, resume: () => void, text: string): boolean;
  /** The connection is the caller's now. */
  onUpgrade(statusCode: number, reply: RawReply, socket: Duplex): void;
  /** Bytes of the reply that the caller gets. */
  onData(chunk: Buffer): boolean;
  /** The end of the reply that the caller gets. */
  onComplete(rawTrailers: readonly RawField[]): void;
  onBodySent(chunkSize: number, totalBytesSent: number): void;
  onRequestSent(): void;
  onResponseStarted(): void;
}

/** One try over one connection: what undici tells becomes what the driver asks. */
export class HttpAttempt implements Attempt, PoolRequest, LegacyHandler {
  readonly endpoint: EndpointState;
  startMs = 0;
  hasHead = false;
  before: Tried | undefined = undefined;
  isSent = false;
  isOver = false;
  connection: PooledConnection | undefined = undefined;
  /** Its trace, if somebody traces. */
  trace: AttemptTrace | undefined = undefined;
  /** Bytes that its connection wrote for it, once it let go of it. */
  requestBytes = 0;
  /** Bytes that its connection read for it. */
  responseBytes = 0;
  readonly #owner: AttemptOwner;
  readonly #pool: ConnectionPool;
  /** Which attempt of the call it is, the first being 1. */
  readonly number: number;
  #reader: BodyReader | undefined;
  #abort: ((reason?: Error) => void) | undefined;
  #reason: MeshError | undefined;
  #httpStatus = 0;
  #isGivenUp = false;
  /** Whether it tells the peer who we are. */
  #introduces = false;
  #isTunnel = false;
  #isDelivered = false;
  #drained = 0;
  #stopClock: (() => void) | undefined;

  /** @param number - Which attempt of the call it is, the first being 1. */
  constructor(owner: AttemptOwner, pool: ConnectionPool, number: number) {
    this.#owner = owner;
    this.#pool = pool;
    this.endpoint = pool.endpoint;
    this.number = number;
  }

  prepare(): Dispatcher.DispatchOptions {
    const { connection } = this;
    const introduction = connection === undefined ? [] : this.#pool.introduce(connection);
    this.#introduces = introduction.length > 0;
    const { options, reader } = this.#owner.prepare(this.number, this.trace, introduction);
    this.#reader = reader;
    this.#isTunnel = Boolean(options.upgrade) || options.method === 'CONNECT';
    return options;
  }

  get handler(): Dispatcher.DispatchHandler {
    return this as Dispatcher.DispatchHandler;
  }

  start(): void {
    this.#pool.send(this);
  }

  abort(reason: MeshError): void {
    this.#reason ??= reason;
    this.#isGivenUp = true;
    if (this.#abort !== undefined) {
      this.#abort(reason);
      return;
    }
    // It waits for a connection, or for one to open: undici cannot take it back, but nothing was sent.
    this.#pool.giveUp(this);
    this.#fail(reason);
  }

  discard(): void {
    // The next attempt reads the body from its beginning: this one must not go on with it, nor seem to have ended it.
    if (this.#reader !== undefined && !this.#reader.isFinished) this.#cutDrain();
    else this.#stopClock = this.#owner.limitDrain(() => this.#cutDrain());
  }

  onRefused(error: MeshError): void {
    this.#fail(error);
  }

  onConnect(abort: (reason?: Error) => void): void {
    if (this.#isGivenUp) {
      abort(this.#reason);
      return;
    }
    this.#abort = abort;
    // Not before undici has looked at the connection: what came while it was idle is nothing to wait behind.
    this.connection?.replies?.expect(this.#isTunnel);
    this.#owner.onSent(this.connection?.facts);
    this.#owner.driver.onAttemptSent(this);
  }

  onUpgrade(statusCode: number, rawHeaders: readonly RawField[], socket: Duplex): void {
    this.#httpStatus = statusCode;
    const reply = this.#read(statusCode, rawHeaders);
    // undici is done with its connection; the tunnel lives on its own.
    this.#release();
    this.hasHead = true;
    if (!this.#owner.driver.onAttemptHead(this, reply)) {
      socket.destroy();
      this.#finish();
      return;
    }
    this.#isDelivered = true;
    const cut = (): void => void socket.destroy();
    this.#abort = cut;
    socket.once('close', () => this.#finish());
    this.#owner.onUpgrade(statusCode, reply, socket);
  }

  onResponseStarted(): void {
    this.#owner.onResponseStarted();
  }

  onHeaders(statusCode: number, rawHeaders: readonly RawField[], resume: () => void, text: string): boolean {
    try {
      return this.#onHeaders(statusCode, rawHeaders, resume, text);
    } catch (error) {
      // By the caller, such as one who wanted an upgrade: the endpoint did nothing wrong, and to ask again is of no use.
      this.#reason ??= new MeshError(
        'INMESH_ERR_CANCELLED',
        `the caller refused the reply: ${String(error)}`,
        {
          cause: error,
          reached: 'maybe',
          stackless: true,
        },
      );
      throw error;
    }
  }

  #onHeaders(statusCode: number, rawHeaders: readonly RawField[], resume: () => void, text: string): boolean {
    if (statusCode < 200) return this.#owner.onInformation(statusCode, rawHeaders, resume, text);
    this.#httpStatus = statusCode;
    const reply = this.#read(statusCode, rawHeaders);
    this.#isDelivered = this.#owner.driver.onAttemptHead(this, reply);
    return this.#isDelivered ? this.#owner.onHead(statusCode, reply, resume, text) : true;
  }

  #read(statusCode: number, rawHeaders: readonly RawField[]): RawReply {
    const reply = new RawReply(statusCode, rawHeaders, this.#introduces);
    if (this.#introduces && this.connection !== undefined) this.#pool.hear(this.connection, reply);
    return reply;
  }

  onData(chunk: Buffer): boolean {
    if (this.#isDelivered) return this.#owner.onData(chunk);
    this.#drained += chunk.length;
    if (this.#drained <= maxDrainBytes) return true;
    this.#cutDrain();
    return true;
  }

  onComplete(rawTrailers: readonly RawField[]): void {
    this.#release();
    // Counts are right before the caller goes on.
    this.#finish();
    if (this.#isDelivered) this.#owner.onComplete(rawTrailers);
  }

  onError(error: Error): void {
    this.#release();
    const told = this.#reason ?? translateError(error, this.endpoint, this.#pool, this.isSent);
    this.#fail(told);
  }

  onBodySent(chunkSize: number, totalBytesSent: number): void {
    this.#owner.onBodySent(chunkSize, totalBytesSent);
  }

  onRequestSent(): void {
    this.#owner.onRequestSent();
  }

  /** Brings the bytes up to now. */
  count(): void {
    if (this.connection !== undefined) this.#count(this.connection);
  }

  #count({ socket }: PooledConnection): void {
    // Without a connection nothing was sent, whatever one before it carried.
    if (socket === undefined || !this.isSent) return;
    this.requestBytes += takeWritten(socket);
    this.responseBytes += takeRead(socket);
  }

  #cutDrain(): void {
    const reason = new MeshError('INMESH_ERR_CANCELLED', 'the rest of a discarded reply was cut', {
      stackless: true,
    });
    this.#reason ??= reason;
    this.#abort?.(reason);
  }

  #finish(): void {
    this.#stopClock?.();
    this.trace?.end({ httpStatus: this.#httpStatus, grpcStatus: undefined, error: undefined });
    this.#owner.driver.onAttemptEnd(this);
  }

  #fail(error: MeshError): void {
    // Told before: what comes late must not touch the body that the next attempt reads.
    if (this.isOver) return;
    this.#stopClock?.();
    this.trace?.end({ httpStatus: this.#httpStatus, grpcStatus: undefined, error });
    this.#reader?.stop();
    this.#owner.driver.onAttemptError(this, error);
  }

  #release(): void {
    const { connection } = this;
    if (connection === undefined) return;
    this.#count(connection);
    this.connection = undefined;
    this.#pool.release(connection);
  }
}
