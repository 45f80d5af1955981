import type { Duplex } from 'node:stream';
import {
  type AttemptTrace,
  type Call,
  type CallEnd,
  CallState,
  type CallTrace,
  type ConnectionFacts,
  createTimer,
  FlatHeaders,
  type Halt,
  httpStatusOf,
  type IntroductionLine,
  type LocalReply,
  MeshError,
  type Plan,
  type PlanRun,
  type Runtime,
  statusFromHttp,
  unknownConnection,
} from '@inmesh/core';
import {
  type AttemptLog,
  CallDriver,
  type ClusterState,
  type DrivenCall,
  type EndpointState,
  editHeaders,
  type Forward,
  isIdempotentMethod,
  isRetryOfCaller,
  markExhausted,
} from '@inmesh/resilience';
import { errors } from 'undici';
import { type AttemptOwner, HttpAttempt } from './http-attempt.js';
import type { LegacyHandler, RawField } from './legacy-handler.js';
import { LocalReplyPlayer } from './local-reply-player.js';
import type { OutboundRequest, PreparedRequest } from './outbound-request.js';
import type { Pools } from './pools.js';
import type { RawReply } from './raw-reply.js';

/** How long a reply that nobody wants may take, in milliseconds, before its connection is given up instead. */
const maxDrainMs = 1000;

/** What an exchange needs besides its request. */
export interface ExchangeParts {
  /** Where the route leads; `undefined` for an answer. */
  readonly forward: Forward | undefined;
  /** The cluster; `undefined` for an answer. */
  readonly cluster: ClusterState | undefined;
  /** The answer of a route that gives one. */
  readonly answer: LocalReply | undefined;
  /** Name for layers: the cluster, or the mesh name of an answer. */
  readonly name: string;
  /** Layers. */
  readonly plan: Plan;
  /** The inbound call it is made in. */
  readonly parent: Call | undefined;
  /** Its trace, if somebody traces. */
  readonly trace: CallTrace | undefined;
  /** Notes what comes of attempts, if somebody wants to know. */
  readonly attemptLog: AttemptLog | undefined;
  /** When it began, on the monotonic clock, in milliseconds. */
  readonly startedMs: number;
  /** Absolute end, in milliseconds; `Infinity` if none. */
  readonly deadlineMs: number;
  /** Told once, when the call is over. */
  readonly onEnd: (exchange: ClientExchange) => void;
  /** Connections. */
  readonly pools: Pools;
  /** Time. */
  readonly runtime: Runtime;
}

/**
 * One outbound call: from the caller's handler through the layers and the driver to connections, and back. Events of
 * attempts come in, those of the one that is delivered go out.
 */
export class ClientExchange implements PlanRun, DrivenCall, AttemptOwner {
  entered = 0;
  hasEnded = false;
  readonly #request: OutboundRequest;
  readonly #parts: ExchangeParts;
  readonly #caller: LegacyHandler;
  readonly #call: CallState;
  #driver: CallDriver | undefined;
  /** The last one. */
  #attempt: HttpAttempt | undefined;
  #httpStatus = 0;

  /** @param caller - Whoever made the call, in the style of undici 6. */
  constructor(request: OutboundRequest, caller: LegacyHandler, parts: ExchangeParts) {
    this.#request = request;
    this.#caller = caller;
    this.#parts = parts;
    this.#call = new CallState({
      side: 'client',
      protocol: 'http1',
      facts: {
        method: request.method,
        path: request.path,
        authority: request.authority,
        connection: unknownConnection,
      },
      headers: request.headers,
      cluster: parts.name,
      parent: parts.parent,
      startedMs: parts.startedMs,
      onCancel: (reason) => this.#cancel(reason, reason),
    });
    if (parts.deadlineMs !== Number.POSITIVE_INFINITY) this.#call.tightenDeadline(parts.deadlineMs);
  }

  get driver(): CallDriver {
    if (this.#driver === undefined) throw new Error('invariant: an attempt before the driver');
    return this.#driver;
  }

  get deadlineMs(): number {
    return this.#call.deadlineMs;
  }

  get isReplayable(): boolean {
    return this.#request.isReplayable;
  }

  get isIdempotent(): boolean {
    const { headers, method } = this.#request;
    return (
      this.#parts.forward?.policy.rules.idempotent ??
      (isIdempotentMethod(method) || headers.has('idempotency-key'))
    );
  }

  get isRetryOfCaller(): boolean {
    return isRetryOfCaller(this.#parts.parent);
  }

  get attemptLog(): AttemptLog | undefined {
    return this.#parts.attemptLog;
  }

  /** Ends it because its client was destroyed. */
  destroy(reason: MeshError): void {
    this.#cancel(reason, reason);
  }

  /** Starts: the caller can give up from here on. */
  begin(): void {
    this.#caller.onConnect?.((reason) => {
      const told = reason ?? new errors.RequestAbortedError();
      this.#cancel(cancelled(told), told);
    }, null);
    if (!this.hasEnded) this.#parts.plan.begin(this, this.#call);
  }

  onPass(): void {
    // A layer may have cancelled the call and let it pass all the same.
    if (this.hasEnded) return;
    const { cluster, forward, answer, runtime } = this.#parts;
    if (answer !== undefined) this.#reply({ kind: 'reply', reply: answer });
    else if (cluster !== undefined && forward !== undefined) {
      this.#driver = new CallDriver(this, cluster, forward.policy, runtime);
      this.#driver.start();
    }
  }

  onHalt(halt: Halt): void {
    if (halt.kind === 'reply' || halt.reply !== undefined) this.#reply(halt);
    else this.#fail(halt.error, halt.error, true);
  }

  createAttempt(endpoint: EndpointState, number: number): HttpAttempt {
    const { cluster, pools } = this.#parts;
    if (cluster === undefined) throw new Error('invariant: an attempt without a cluster');
    const { trace } = this.#parts;
    const attempt = new HttpAttempt(this, pools.of(cluster, endpoint), number);
    if (trace !== undefined) attempt.trace = trace.attempt(this.#call, number, endpoint.key);
    this.#attempt = attempt;
    return attempt;
  }

  prepare(
    number: number,
    trace: AttemptTrace | undefined,
    introduction: readonly IntroductionLine[],
  ): PreparedRequest {
    const { runtime, forward } = this.#parts;
    const traced = trace?.headers ?? introduction;
    const added = trace === undefined || introduction.length === 0 ? traced : [...traced, ...introduction];
    return this.#request.prepare(forward, this.#call.deadlineMs, number, runtime, added);
  }

  onSent(connection: ConnectionFacts | undefined): void {
    this.#call.connection = connection;
  }

  onFailure(error: MeshError): void {
    // What undici itself refuses to send is the caller's mistake, and told in undici's words.
    const isForeign = error.code === 'INMESH_ERR_CANCELLED' && error.cause instanceof Error;
    this.#fail(error, isForeign ? (error.cause as Error) : error, false);
  }

  limitDrain(cut: () => void): () => void {
    const { runtime } = this.#parts;
    const timer = createTimer(cut);
    runtime.arm(timer, maxDrainMs);
    return () => runtime.disarm(timer);
  }

  onInformation(status: number, raw: readonly RawField[], resume: () => void, text: string): boolean {
    return this.#caller.onHeaders?.(status, raw, resume, text) ?? true;
  }

  onHead(status: number, reply: RawReply, resume: () => void, text: string): boolean {
    this.#httpStatus = status;
    this.#request.commit();
    return this.#caller.onHeaders?.(status, this.#head(status, reply.forCaller()), resume, text) ?? true;
  }

  onUpgrade(status: number, reply: RawReply, socket: Duplex): void {
    this.#httpStatus = status;
    this.#request.commit();
    socket.once('close', () => this.#end(undefined, false));
    this.#caller.onUpgrade?.(status, this.#head(status, reply.forCaller()), socket);
  }

  onResponseStarted(): void {
    this.#caller.onResponseStarted?.();
  }

  onData(chunk: Buffer): boolean {
    return this.#caller.onData?.(chunk) ?? true;
  }

  onComplete(rawTrailers: readonly RawField[]): void {
    this.#end(undefined, false);
    this.#caller.onComplete?.(rawTrailers);
  }

  onBodySent(chunkSize: number, totalBytesSent: number): void {
    this.#caller.onBodySent?.(chunkSize, totalBytesSent);
  }

  onRequestSent(): void {
    this.#caller.onRequestSent?.();
  }

  /** Shows the head to the layers; what they and the route write reaches the caller. */
  #head(httpStatus: number, rawHeaders: readonly RawField[]): readonly RawField[] {
    const { plan, forward } = this.#parts;
    const edits = forward?.response ?? [];
    if (!plan.watchesHead && edits.length === 0) return rawHeaders;
    const headers = new FlatHeaders(
      rawHeaders.map((field) => (Buffer.isBuffer(field) ? field.toString('latin1') : String(field))),
    );
    plan.head(this, this.#call, { httpStatus, grpcStatus: undefined, headers });
    editHeaders(headers, edits);
    return headers.raw.map((text) => Buffer.from(text, 'latin1'));
  }

  /** A layer or a route answers: the caller sees a reply as from the wire. */
  #reply(halt: Halt): void {
    const error = halt.kind === 'reject' ? halt.error : undefined;
    const reply = halt.reply ?? { httpStatus: error === undefined ? 200 : httpStatusOf(error.status) };
    this.#httpStatus = reply.httpStatus;
    const player = new LocalReplyPlayer(
      reply,
      this.#request.method === 'HEAD',
      this.#caller,
      (status, fields) => this.#head(status, fields),
      () => this.hasEnded,
      () => this.#end(error, true),
    );
    player.play();
  }

  #cancel(reason: MeshError, told: Error): void {
    if (this.hasEnded) return;
    this.#parts.attemptLog?.end(reason.code, 'cancelled');
    this.#end(reason, false);
    this.#driver?.cancel(reason);
    this.#caller.onError?.(told);
  }

  #fail(error: MeshError, told: Error, isLocal: boolean): void {
    if (this.hasEnded) return;
    this.#end(error, isLocal);
    this.#caller.onError?.(told);
  }

  #end(error: MeshError | undefined, isLocalReply: boolean): void {
    if (this.hasEnded) return;
    const { plan, parent, trace, attemptLog } = this.#parts;
    if (this.#driver?.isExhausted === true) markExhausted(parent);
    this.#call.finish(error);
    attemptLog?.end(error?.code);
    const end = this.#endOf(error, isLocalReply);
    plan.end(this, this.#call, end);
    trace?.end(this.#call, end);
    this.#request.end();
    this.#parts.onEnd(this);
  }

  #endOf(error: MeshError | undefined, isLocalReply: boolean): CallEnd {
    // Also of one that goes on without its caller.
    this.#attempt?.count();
    return {
      status: error?.status ?? statusFromHttp(this.#httpStatus),
      httpStatus: this.#httpStatus,
      error,
      isLocalReply,
      requestBytes: this.#attempt?.requestBytes ?? 0,
      responseBytes: this.#attempt?.responseBytes ?? 0,
      endpoint: this.#attempt?.endpoint.key,
      attempts: this.#attempt?.number ?? 0,
      attemptNotes: this.#parts.attemptLog,
      isRetryLimitReached: this.#driver?.isRetryLimitReached,
    };
  }
}

function cancelled(reason: Error): MeshError {
  return new MeshError('INMESH_ERR_CANCELLED', `the caller ended the call: ${reason.message}`, {
    cause: reason,
    stackless: true,
  });
}
