import type { experimental, Metadata, StatusObject } from '@grpc/grpc-js';
import {
  type AttemptTrace,
  type Call,
  grpcStatusNumber,
  MeshError,
  type RetryReason,
  type Runtime,
  statusFromGrpcNumber,
  type Timer,
} from '@inmesh/core';
import {
  type AttemptLog,
  type ClusterState,
  type CountedResult,
  type EndpointState,
  type Forward,
  markExhausted,
  parsePushback,
  type Tried,
} from '@inmesh/resilience';
import type { CallOrigin } from './call-origin.js';
import { detailsOf, errorOf, markStatus } from './call-status.js';
import type { ClientCall, Sent } from './client-call.js';
import { editMetadata } from './edit-metadata.js';
import type { LiveRpc, LiveRpcs } from './live-rpcs.js';
import { type AttemptStatus, isRefused, type Judgement } from './outcome.js';
import { pushbackHeader, RetryGate } from './retry-gate.js';
import {
  againFor,
  finalFor,
  logStatus,
  type RetryTerms,
  type Verdict,
  withoutGate,
} from './retry-reasons.js';

/** What a message of gRPC has in front of it. */
const prefixBytes = 5;

/** An attempt, as far as its RPC deals with it. */
export interface RpcAttempt {
  /** Where it goes. */
  readonly endpoint: EndpointState;
  /** It was picked; if it is not on the wire yet it will not be. */
  abandon(): void;
  /** Cuts it; its status still comes. */
  cut(code: number, details: string): void;
}

/** A message on its way from the caller to an attempt. */
type OutboundMessage = Parameters<experimental.Filter['sendMessage']>[0];

/** What a {@link ClientRpc} is made of. */
export interface ClientRpcParts extends RetryTerms {
  /** Where it goes: chosen once, for all attempts. Has let it in. */
  readonly cluster: ClusterState;
  /** Attempts that grpc-js makes at most. */
  readonly maxAttempts: number;
  /** Whether it waits for a connection, however long. */
  readonly waitsForReady: boolean;
  /** The layers' view of it, where there are layers. */
  readonly call: ClientCall | undefined;
  /** RPCs in flight. */
  readonly live: LiveRpcs;
  /** Time. */
  readonly runtime: Runtime;
}

/**
 * One outbound RPC from its route to its last byte. grpc-js runs it as a filter, which sees metadata and the final
 * status once, and hands it to the picker with each attempt. An interceptor would see the same for 27 µs more.
 */
export class ClientRpc implements experimental.Filter, LiveRpc, Timer {
  timerNext: Timer | undefined = undefined;
  timerPrev: Timer | undefined = undefined;
  timerDueMs = 0;
  liveNext: LiveRpc | undefined = undefined;
  livePrevious: LiveRpc | undefined = undefined;
  readonly cluster: ClusterState;
  readonly forward: Forward;
  readonly origin: CallOrigin | undefined;
  readonly waitsForReady: boolean;
  /** Whether its final status is known. */
  hasEnded = false;
  /** That status. */
  endCode = 0;
  /** Endpoints that failed it. */
  tried: Tried | undefined;
  /** When it must have a head, on the monotonic clock; `Infinity` if unbounded or not known yet. */
  headDueMs = Number.POSITIVE_INFINITY;
  readonly #parts: ClientRpcParts;
  /** Bytes of messages that its caller streamed, not compressed; counted where they may be sent again. */
  #writtenBytes = 0;
  /** Made when there is something to decide. */
  #gate: RetryGate | undefined;
  /** When its route ends it, on the monotonic clock. */
  readonly #totalDueMs: number;
  #attempt: RpcAttempt | undefined;
  /** Why the attempt that is under way was made, or the next one will be. */
  #reason: RetryReason | undefined;
  #hasHead = false;
  /** Attempts that are in a trace. */
  #traced = 0;
  #isCommitted = false;
  #isPending = false;
  /** Why we ended it ourselves. */
  #cut: MeshError | undefined;
  /** Trailers of the last attempt; tells its status from one that grpc-js made. */
  #lastTrailers: Metadata | undefined;
  #isFine = false;
  /** Whether the peer asked not to try again where we would not have: its wish travels outwards all the same. */
  #isToldToStop = false;

  /** @param parts - What it is made of. */
  constructor(parts: ClientRpcParts) {
    this.#parts = parts;
    this.cluster = parts.cluster;
    this.forward = parts.forward;
    this.origin = parts.origin;
    this.waitsForReady = parts.waitsForReady;
    parts.live.add(this);
    const { timeoutMs } = parts.forward.policy.rules;
    const nowMs = parts.runtime.now();
    this.#totalDueMs = timeoutMs > 0 ? nowMs + timeoutMs : Number.POSITIVE_INFINITY;
    // Who says that it waits for a connection is not bound by the time that takes.
    if (!parts.waitsForReady) this.#armHead(nowMs);
  }

  get seen(): Call | undefined {
    return this.#parts.call?.seen;
  }

  createFilter(): this {
    return this;
  }

  sendMetadata(metadata: Promise<Metadata>): Promise<Metadata> {
    const { call } = this.#parts;
    if (call === undefined) return metadata;
    if (call.isAsked) return call.begin();
    call.start();
    return metadata;
  }

  receiveMetadata(metadata: Metadata): Metadata {
    editMetadata(metadata, this.forward.response);
    this.#parts.call?.onHead(metadata, undefined);
    return metadata;
  }

  sendMessage(message: OutboundMessage): OutboundMessage {
    if (!this.#isStreamed || this.#parts.maxAttempts <= 1) return message;
    // An attempt may end before it was given all of it.
    return message.then((written) => {
      this.#writtenBytes += prefixBytes + written.message.length;
      return written;
    });
  }

  receiveMessage<T>(message: T): T {
    return message;
  }

  receiveTrailers(status: StatusObject): StatusObject {
    if (!Number.isInteger(status.code)) nameStatus(status);
    if (!this.hasEnded) this.#end(status);
    return status;
  }

  /** Why it may not be sent, if it may not. */
  get refusal(): MeshError | undefined {
    if (this.#cut !== undefined) return this.#cut;
    // grpc-js starts a call that was cancelled while its metadata was awaited.
    return this.hasEnded
      ? new MeshError('INMESH_ERR_CANCELLED', 'the caller left before the call was sent', { stackless: true })
      : undefined;
  }

  /**
   * A pick begins.
   *
   * @returns Whether it may go on: `false` for a retry that the gate did not see and the budget refuses.
   */
  onPick(metadata: Metadata): boolean {
    this.#attempt?.abandon();
    const isFirst = this.#attempt === undefined && this.tried === undefined;
    if (isFirst || this.#needGate()?.onPick(metadata) !== false) return true;
    this.#log?.final(this.cluster.retryRefusal);
    return false;
  }

  /** It waits for a connection. @returns why it may not */
  wait(): MeshError | undefined {
    if (this.#isPending) return undefined;
    const refusal = this.cluster.queue();
    this.#isPending = refusal === undefined;
    return refusal;
  }

  /** A pick succeeded. */
  onPicked(attempt: RpcAttempt): void {
    this.#attempt = attempt;
    this.#stopWaiting();
  }

  /** A status of ours, which grpc-js must not retry. */
  forbidRetry(status: StatusObject): StatusObject {
    this.#needGate()?.forbid(status.metadata);
    return status;
  }

  /** An attempt is on the wire; the request may not be whole yet. */
  onAttemptStart({ endpoint }: RpcAttempt): void {
    this.#gate?.onStart();
    this.#log?.start(endpoint, this.cluster);
    this.#log?.sent();
    if (this.#isStreamed) this.#disarm();
  }

  /** The request is whole: from here on the reply is waited for. */
  onRequestSent(nowMs: number): void {
    if (this.headDueMs === Number.POSITIVE_INFINITY) this.#armHead(nowMs);
  }

  /** An attempt counts for it, where a layer asks for counts. */
  countWith(sent: Sent): boolean {
    const { call } = this.#parts;
    call?.onSent(sent);
    return call !== undefined;
  }

  /** An attempt is about to be sent: its trace, if somebody traces. */
  traceAttempt(address: string): AttemptTrace | undefined {
    const { call, origin } = this.#parts;
    if (origin?.trace === undefined || call === undefined) return undefined;
    this.#traced++;
    return origin.trace.attempt(call.seen, this.#traced, address);
  }

  /** The head of an attempt came: grpc-js sends nothing again. */
  onHead(): void {
    this.#hasHead = true;
    this.#disarm();
  }

  /** grpc-js sends nothing again: a head came, or the request is larger than it keeps for that. */
  onCommitted(): void {
    this.#isCommitted = true;
  }

  /** An attempt ended while the RPC goes on: here it is decided whether there is another. */
  onAttemptEnd(attempt: RpcAttempt, status: AttemptStatus, judgement: Judgement): void {
    this.#lastTrailers = status.metadata;
    this.#isFine = judgement.result === 'ok';
    // What we cut ourselves is told at the end, with the reason.
    const log = this.#cut === undefined ? this.#log : undefined;
    if (log !== undefined) logStatus(log, status, judgement, this.#hasHead);
    if (status.code === 0 || this.#hasHead) return;
    this.tried = { endpoint: attempt.endpoint, before: this.tried };
    // What grpc-js will not send again, whatever we say, costs nothing.
    const gate = this.#isCommitted ? undefined : this.#needGate();
    const isKept = this.#isKept;
    const verdict = this.#ask(gate, status, judgement, isKept);
    if (verdict === undefined || verdict === 'not-processed') {
      this.#reason = verdict ?? againFor(this.#parts, status, judgement);
      log?.again(this.#reason);
    } else if (log !== undefined) log.final(finalFor(this.#parts, status, judgement, isKept, verdict));
  }

  /** An attempt has ended: counts it, before it is decided whether there is another. */
  countAttempt(result: CountedResult): void {
    this.cluster.countAttempt(result, this.#reason);
  }

  /** Ends it, wherever it is. */
  end(error: MeshError): void {
    if (this.hasEnded) return;
    this.#cut = error;
    this.#disarm();
    const code = grpcStatusNumber(error.status);
    const handle = this.origin?.handle.call;
    if (handle !== undefined) handle.cancelWithStatus(code, detailsOf(error));
    // Without the caller's handle an attempt can be cut; one that waits is refused when it is picked.
    else this.#attempt?.cut(code, detailsOf(error));
  }

  onTimer(): void {
    const { headTimeoutMs } = this.forward.policy.rules;
    this.end(
      new MeshError(
        'INMESH_ERR_HEAD_TIMEOUT',
        `${this.cluster.name} did not begin to answer within ${headTimeoutMs} ms`,
        { stackless: true },
      ),
    );
  }

  get #log(): AttemptLog | undefined {
    return this.#parts.call?.attemptLog;
  }

  /** `undefined` where grpc-js makes one attempt: then it decides everything itself. */
  #needGate(): RetryGate | undefined {
    const { cluster, forward, maxAttempts } = this.#parts;
    if (maxAttempts > 1) this.#gate ??= new RetryGate(cluster, forward.policy, maxAttempts);
    return this.#gate;
  }

  /** Whether it may be sent by and by: then only so much of it is sent again. */
  get #isStreamed(): boolean {
    return this.origin?.sendsStream !== false;
  }

  /** Whether what its caller streamed is little enough to be sent again. A message is, whatever its size. */
  get #isKept(): boolean {
    return !this.#isStreamed || this.#writtenBytes <= this.forward.policy.rules.retry.maxBodyBytes;
  }

  #ask(gate: RetryGate | undefined, status: AttemptStatus, judgement: Judgement, isKept: boolean): Verdict {
    const { mayRunTwice, runtime } = this.#parts;
    if (gate === undefined) {
      this.#isToldToStop = parsePushback(status.metadata.get(pushbackHeader)[0]?.toString()) === 'stop';
      const isRepeated = this.#reason === 'not-processed';
      return withoutGate(this.#parts, status, judgement, this.#isCommitted, isRepeated);
    }
    const wasRefused = isRefused(status);
    const mayRepeat = isKept && (mayRunTwice || wasRefused) && this.#cut === undefined;
    return gate.onFailure({
      metadata: status.metadata,
      isRefused: wasRefused,
      isRetryable: judgement.isRetryable && mayRepeat,
      nowMs: runtime.now(),
      endMs: Math.min(this.headDueMs, this.#totalDueMs, this.origin?.deadlineMs ?? Number.POSITIVE_INFINITY),
    });
  }

  #armHead(nowMs: number): void {
    const { headTimeoutMs } = this.forward.policy.rules;
    if (headTimeoutMs <= 0) return;
    this.headDueMs = nowMs + headTimeoutMs;
    this.#parts.runtime.arm(this, headTimeoutMs, nowMs);
  }

  #disarm(): void {
    if (this.headDueMs === Number.POSITIVE_INFINITY) return;
    this.headDueMs = Number.POSITIVE_INFINITY;
    this.#parts.runtime.disarm(this);
  }

  #stopWaiting(): void {
    if (!this.#isPending) return;
    this.#isPending = false;
    this.cluster.pending--;
  }

  #end(status: StatusObject): void {
    const { call, live } = this.#parts;
    this.hasEnded = true;
    this.endCode = status.code;
    this.#disarm();
    this.#attempt?.abandon();
    this.#stopWaiting();
    this.#gate?.close(status.metadata);
    this.cluster.activeCalls--;
    live.delete(this);
    const isFromAttempt = status.metadata === this.#lastTrailers;
    if (isFromAttempt && this.#isFine) this.cluster.budget.deposit();
    if (status.code !== 0) this.#mark(status, isFromAttempt);
    if (call === undefined) return;
    if (isFromAttempt && !this.#hasHead) call.onHead(status.metadata, statusFromGrpcNumber(status.code));
    const error = this.#cut ?? errorOf(status);
    call.onEnd(status.code, !isFromAttempt && error !== undefined, error, this.#gate?.isRetryLimitReached);
  }

  #mark(status: StatusObject, isFromAttempt: boolean): void {
    if (this.#gate?.isExhausted === true || this.#isToldToStop) markExhausted(this.origin?.parent);
    if (this.#cut !== undefined) markStatus(status, this.#cut.code);
    else if (!isFromAttempt && status.code === grpcStatusNumber('deadline-exceeded')) {
      markStatus(status, 'INMESH_ERR_DEADLINE_EXCEEDED');
      status.details = `INMESH_ERR_DEADLINE_EXCEEDED: ${status.details}`;
    }
  }
}

/** Gives a number to a status without one: of a trailer that is no number, or where grpc-js cannot read a message. */
function nameStatus(status: StatusObject): void {
  const isUnread = (status.code as unknown) === undefined;
  status.code = grpcStatusNumber(isUnread ? 'internal' : 'unknown');
  const error = new MeshError(
    'INMESH_ERR_BAD_REPLY',
    isUnread ? 'a message of the reply cannot be read' : 'the grpc-status of the reply is no number',
    { stackless: true },
  );
  status.details = status.details ? `${detailsOf(error)}: ${status.details}` : detailsOf(error);
  markStatus(status, error.code);
}
