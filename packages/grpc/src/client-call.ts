import { Metadata, type StatusObject } from '@grpc/grpc-js';
import {
  type Call,
  type CallEnd,
  CallState,
  type ConnectionFacts,
  grpcStatusNumber,
  type Halt,
  MeshError,
  type MessageCounts,
  type Plan,
  type PlanRun,
  type StatusCode,
  statusFromGrpcNumber,
  unknownConnection,
} from '@inmesh/core';
import type { AttemptLog } from '@inmesh/resilience';
import type { CallOrigin } from './call-origin.js';
import { detailsOf, statusOfAnswer, statusOfError } from './call-status.js';
import { MetadataHeaders } from './metadata-headers.js';

/** What a {@link ClientCall} is made of. */
export interface ClientCallParts {
  /** Layers of its cluster; at least one. */
  readonly plan: Plan;
  /** Cluster it goes to. */
  readonly cluster: string;
  /** Method. */
  readonly path: string;
  /** Request metadata; layers write into it. */
  readonly metadata: Metadata;
  /** Where it comes from. */
  readonly origin: CallOrigin | undefined;
  /** When it began, on the monotonic clock, in milliseconds. */
  readonly startedMs: number;
  /** Notes what comes of attempts, if somebody wants to know. */
  readonly attemptLog: AttemptLog | undefined;
}

/** What an attempt sent and received. */
export interface Sent {
  readonly requestMessages: number;
  readonly responseMessages: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** What is known of its connection. */
  readonly connection: ConnectionFacts | undefined;
  /** Where it went. */
  readonly endpoint: { readonly key: string } | undefined;
}

const nothingSent: Sent = Object.freeze({
  requestMessages: 0,
  responseMessages: 0,
  requestBytes: 0,
  responseBytes: 0,
  connection: undefined,
  endpoint: undefined,
});

/** The layers' view of one outbound RPC. Made only where a cluster has layers. */
export class ClientCall implements PlanRun, MessageCounts {
  entered = 0;
  hasEnded = false;
  /** What crossed the wire; of several attempts, for the last one. */
  sent: Sent = nothingSent;
  /** Attempts that were sent. */
  attempts = 0;
  readonly #parts: ClientCallParts;
  readonly #call: CallState;
  #pass: (metadata: Metadata) => void = () => {};
  #fail: (status: StatusObject) => void = () => {};
  #isStarted = false;

  /** @param parts - What it is made of. */
  constructor(parts: ClientCallParts) {
    const { cluster, path, metadata, origin, startedMs } = parts;
    this.#parts = parts;
    this.#call = new CallState({
      side: 'client',
      protocol: 'grpc',
      facts: { method: 'POST', path, authority: cluster, connection: unknownConnection },
      headers: new MetadataHeaders(metadata),
      cluster,
      parent: origin?.parent,
      messages: this,
      operation: path,
      startedMs,
      onCancel: (reason) => this.#cancel(reason),
    });
    if (origin !== undefined) this.#call.tightenDeadline(origin.deadlineMs);
  }

  /** The call itself. */
  get seen(): Call {
    return this.#call;
  }

  get requests(): number {
    return this.sent.requestMessages;
  }

  get responses(): number {
    return this.sent.responseMessages;
  }

  /** Notes what comes of attempts, if somebody wants to know. */
  get attemptLog(): AttemptLog | undefined {
    return this.#parts.attemptLog;
  }

  /** Whether a layer has to be asked before the call goes on. */
  get isAsked(): boolean {
    return this.#parts.plan.watchesRequest;
  }

  /** Begins a call that no layer has to be asked for. */
  start(): void {
    this.#parts.plan.begin(this, this.#call);
  }

  /** An attempt is on the wire. */
  onSent(sent: Sent): void {
    this.sent = sent;
    this.attempts++;
    this.#call.connection = sent.connection;
  }

  /** Ends a call that never began: its cluster takes no more. */
  refuse(error: MeshError): void {
    // Layers are not asked about a call that will not be made.
    if (this.isAsked) return;
    this.start();
    this.onEnd(grpcStatusNumber(error.status), true, error);
  }

  /**
   * Asks the layers.
   *
   * @returns Resolves when all let it pass; rejects with the status of the one that does not. Stays open if the call
   * ends before: grpc-js would start a call whose caller has left.
   */
  begin(): Promise<Metadata> {
    return new Promise((resolve, reject) => {
      this.#pass = resolve;
      // grpc-js takes the status itself as the reason.
      this.#fail = reject;
      this.#parts.plan.begin(this, this.#call);
    });
  }

  onPass(): void {
    // A layer may have cancelled the call and let it pass all the same.
    if (this.hasEnded) return;
    this.#isStarted = true;
    this.#pass(this.#parts.metadata);
  }

  onHalt(halt: Halt): void {
    const status = statusOfAnswer(halt);
    this.onHead(status.metadata, statusFromGrpcNumber(status.code));
    this.onEnd(status.code, true, halt.kind === 'reject' ? halt.error : undefined);
    this.#fail(status);
  }

  /** The head of the reply came; a status if it is the whole reply. */
  onHead(metadata: Metadata, status: StatusCode | undefined): void {
    const { plan } = this.#parts;
    if (!plan.watchesHead || this.hasEnded) return;
    plan.head(this, this.#call, {
      httpStatus: 200,
      grpcStatus: status,
      headers: new MetadataHeaders(metadata),
    });
  }

  /** The last byte, or the end without one; only the first time. */
  onEnd(
    code: number,
    isLocalReply: boolean,
    error: MeshError | undefined,
    isRetryLimitReached?: boolean,
  ): void {
    if (this.hasEnded) return;
    const status = statusFromGrpcNumber(code);
    const failure =
      error ??
      (status === 'cancelled'
        ? new MeshError('INMESH_ERR_CANCELLED', 'the caller ended the call', { stackless: true })
        : undefined);
    const { attemptLog } = this.#parts;
    attemptLog?.end(failure?.code);
    this.#call.finish(failure);
    // Where nothing came from the peer there is no status of HTTP either.
    const httpStatus = failure === undefined || !isLocalReply ? 200 : 0;
    const end: CallEnd = {
      status,
      httpStatus,
      error: failure,
      isLocalReply,
      requestBytes: this.sent.requestBytes,
      responseBytes: this.sent.responseBytes,
      endpoint: this.sent.endpoint?.key,
      attempts: this.attempts,
      attemptNotes: attemptLog,
      isRetryLimitReached,
    };
    this.#parts.plan.end(this, this.#call, end);
    this.#parts.origin?.trace?.end(this.#call, end);
  }

  /** A layer cancelled it. */
  #cancel(reason: MeshError): void {
    if (this.#isStarted) {
      this.#parts.origin?.handle.call?.cancelWithStatus(grpcStatusNumber(reason.status), detailsOf(reason));
      return;
    }
    const status = statusOfError(reason);
    this.onEnd(status.code, true, reason);
    this.#fail(status);
  }
}
