import { experimental, type Metadata } from '@grpc/grpc-js';
import {
  type AttemptTrace,
  type ConnectionFacts,
  MeshError,
  peerMetadataHeader,
  type Runtime,
  type Timer,
} from '@inmesh/core';
import { type AttemptResult, type EndpointState, failurePenaltyMs } from '@inmesh/resilience';
import type { AttemptPeer } from './attempt-peer.js';
import { detailsOf, errorKey, markStatus, statusOfError } from './call-status.js';
import type { Sent } from './client-call.js';
import type { ClientRpc, RpcAttempt } from './client-rpc.js';
import { type AttemptStatus, isAnswer, isRefused, judge } from './outcome.js';
import type { ConnectionUse } from './reconnect-pause.js';
import {
  type AttemptListener,
  type AttemptSubchannel,
  onHalfClose,
  onMessage,
  type SubchannelCall,
} from './seams.js';
import { makeSendable } from './sendable-metadata.js';
import { createUnsentCall } from './unsent-call.js';

const deadlineExceeded = 4;
const unimplemented = 12;

/**
 * One attempt of an RPC on one endpoint: what the picker hands out, the subchannel that grpc-js starts the attempt on,
 * and the listener of its reply; one object for all three. It counts the attempt from the pick to the last byte.
 */
export class Attempt implements RpcAttempt, Sent, AttemptSubchannel, AttemptListener, Timer {
  timerNext: Timer | undefined = undefined;
  timerPrev: Timer | undefined = undefined;
  timerDueMs = 0;
  // The fields of a pick result.
  readonly pickResultType = experimental.PickResultType.COMPLETE;
  readonly subchannel: AttemptSubchannel = this;
  readonly status = null;
  readonly onCallStarted = null;
  readonly onCallEnded = null;
  readonly endpoint: EndpointState;
  requestMessages = 0;
  responseMessages = 0;
  requestBytes = 0;
  responseBytes = 0;
  readonly #rpc: ClientRpc;
  readonly #runtime: Runtime;
  readonly #connection: experimental.SubchannelInterface;
  readonly #peer: AttemptPeer;
  #introduces = false;
  /** Of the connection, from when it takes a stream of it. */
  #use: ConnectionUse | undefined;
  #listener: AttemptListener | undefined;
  #call: SubchannelCall | undefined;
  #trace: AttemptTrace | undefined;
  #isOpen = true;
  #isTimedOut = false;
  #isDoubled = false;
  #isArmed = false;
  /** When the request was whole; `undefined` while the caller still sends. */
  #sentMs: number | undefined;
  #headMs: number | undefined;

  /** @param connection - To the endpoint. @param peer - Who is at its other end. */
  constructor(
    rpc: ClientRpc,
    endpoint: EndpointState,
    connection: experimental.SubchannelInterface,
    peer: AttemptPeer,
    runtime: Runtime,
  ) {
    this.#rpc = rpc;
    this.endpoint = endpoint;
    this.#connection = connection;
    this.#peer = peer;
    this.#runtime = runtime;
    rpc.cluster.onStart(endpoint);
  }

  /** What is known of its connection. */
  get connection(): ConnectionFacts | undefined {
    return this.#peer.facts;
  }

  /** Whether its head came. */
  get hasHead(): boolean {
    return this.#headMs !== undefined;
  }

  getConnectivityState(): ReturnType<experimental.SubchannelInterface['getConnectivityState']> {
    return this.#connection.getConnectivityState();
  }

  getCallCredentials(): ReturnType<experimental.SubchannelInterface['getCallCredentials']> {
    return this.#connection.getCallCredentials();
  }

  getChannelzRef(): ReturnType<experimental.SubchannelInterface['getChannelzRef']> {
    return this.#connection.getChannelzRef();
  }

  getAddress(): string {
    return this.#connection.getAddress();
  }

  getRealSubchannel(): this {
    return this;
  }

  createCall(
    metadata: Metadata,
    host: string,
    path: string,
    listener: AttemptListener,
    callNumber: number,
  ): SubchannelCall {
    this.#listener = listener;
    const { forward, origin } = this.#rpc;
    const authority = forward.authority ?? host;
    const target = forward.target ?? path;
    this.#trace = this.#rpc.traceAttempt(this.endpoint.key);
    for (const [name, value] of this.#trace?.headers ?? []) metadata.set(name, value);
    this.#introduces = this.#peer.introduce(metadata);
    const excess = makeSendable(metadata, authority, target);
    if (excess !== undefined) return this.#refuse(excess, callNumber);
    this.#use = this.#peer.onStart();
    const call = this.#connection
      .getRealSubchannel()
      .createCall(metadata, authority, target, this, callNumber);
    this.#call = call;
    this.#rpc.onAttemptStart(this);
    if (this.#rpc.countWith(this)) onMessage(call, this);
    // Time counts from when the request is whole. Only a caller that sends no stream is sure to have sent it by now.
    if (origin?.sendsStream === false) this.#onRequestSent();
    else onHalfClose(call, () => this.#onRequestSent());
    return call;
  }

  abandon(): void {
    if (this.#call === undefined) this.#close();
  }

  cut(code: number, details: string): void {
    this.#call?.cancelWithStatus(code, details);
  }

  onTimer(): void {
    const { cluster, forward } = this.#rpc;
    this.#isTimedOut = true;
    const error = new MeshError(
      'INMESH_ERR_ATTEMPT_TIMEOUT',
      `${cluster.name} at ${this.endpoint.key} did not answer within ${forward.policy.rules.retry.perTryTimeoutMs} ms`,
      { stackless: true },
    );
    this.cut(deadlineExceeded, detailsOf(error));
  }

  onReceiveMetadata(metadata: Metadata): void {
    this.#hear(metadata);
    if (this.#headMs === undefined) this.#onHead();
    this.#listener?.onReceiveMetadata(metadata);
  }

  onSendMessage(message: Buffer): void {
    this.requestMessages++;
    this.requestBytes += message.length;
  }

  onReceiveMessage(message: Buffer): void {
    this.responseMessages++;
    this.responseBytes += message.length;
    if (this.#rpc.origin?.receivesStream !== false) this.#listener?.onReceiveMessage(message);
    else if (this.responseMessages === 1) {
      this.#listener?.onReceiveMessage(message);
      // grpc-js reads one reply, and holds back the status of the call as long as there is another: for ever.
      this.#call?.startRead();
    } else this.#onSecondReply();
  }

  onReceiveStatus(status: AttemptStatus): void {
    // Of a reply that is a status alone; a status of grpc-js itself is nobody's reply.
    if (status.metadata.get(peerMetadataHeader).length > 0) this.#hear(status.metadata);
    this.#trace?.end({ httpStatus: 200, grpcStatus: status.code, error: undefined });
    if (this.#use !== undefined && !this.hasHead && isAnswer(status)) this.#peer.onAnswer(this.#use);
    if (this.#isOpen) this.#finish(status);
    // Nobody judged it, so it must not lead to another attempt.
    else this.#rpc.forbidRetry(status);
    this.#listener?.onReceiveStatus(status);
  }

  /** Ends it before it is sent, which says nothing of its endpoint. */
  #refuse(error: MeshError, callNumber: number): SubchannelCall {
    const status = this.#rpc.forbidRetry(statusOfError(error));
    this.#trace?.end({ httpStatus: 0, grpcStatus: status.code, error });
    this.#close();
    const call = createUnsentCall(this.getAddress(), callNumber);
    this.#call = call;
    // As from a connection, grpc-js has its call by then.
    process.nextTick(() => this.#listener?.onReceiveStatus(status));
    return call;
  }

  /** gRPC, status codes: UNIMPLEMENTED, by the client, for a number of replies that is not one. */
  #onSecondReply(): void {
    this.#isDoubled = true;
    const error = new MeshError(
      'INMESH_ERR_BAD_REPLY',
      `${this.#rpc.cluster.name} at ${this.endpoint.key} sent a second reply to a unary call`,
      { stackless: true },
    );
    this.cut(unimplemented, detailsOf(error));
  }

  #hear(metadata: Metadata): void {
    if (!this.#introduces) return;
    this.#introduces = false;
    this.#peer.hear(metadata);
  }

  #onRequestSent(): void {
    if (this.#sentMs !== undefined || !this.#isOpen) return;
    this.#sentMs = this.#runtime.now();
    if (this.hasHead) return;
    this.#rpc.onRequestSent(this.#sentMs);
    const { perTryTimeoutMs } = this.#rpc.forward.policy.rules.retry;
    if (perTryTimeoutMs <= 0) return;
    this.#isArmed = true;
    this.#runtime.arm(this, perTryTimeoutMs);
  }

  #onHead(): void {
    const { cluster, origin } = this.#rpc;
    const nowMs = this.#runtime.now();
    this.#headMs = nowMs;
    this.#disarm();
    if (this.#use !== undefined) this.#peer.onAnswer(this.#use);
    this.#rpc.onHead();
    // A stream may last for hours: what its head says of the endpoint is said now. A unary reply ends at once.
    if (origin?.receivesStream === false || this.#sentMs === undefined) return;
    const result = this.endpoint.isOnProbation ? 'ok' : 'unknown';
    cluster.onResult(this.endpoint, result, nowMs - this.#sentMs, nowMs);
  }

  #finish(status: AttemptStatus): void {
    const rpc = this.#rpc;
    const nowMs = this.#runtime.now();
    if (this.#isSilenced) this.#peer.onSilence();
    if (rpc.hasEnded) {
      this.#observeCut(nowMs);
      this.#close();
      return;
    }
    // What a peer relays of errors of its own calls says nothing of this one.
    if (status.code !== 0) status.metadata.remove(errorKey);
    const judgement = judge(
      rpc.forward.policy,
      status,
      this.#isTimedOut,
      rpc.cluster,
      this.#use?.isOver !== true,
    );
    // Of a call that has its head a handler saw something, whatever the peer says.
    if (this.#isDoubled) markStatus(status, 'INMESH_ERR_BAD_REPLY');
    else if (isRefused(status) && !this.hasHead) markStatus(status, 'INMESH_ERR_PEER_REFUSED');
    else if (judgement.result === 'local-error')
      markStatus(status, this.#isTimedOut ? 'INMESH_ERR_ATTEMPT_TIMEOUT' : 'INMESH_ERR_CONNECTION_LOST');
    rpc.countAttempt(judgement.result);
    rpc.cluster.onResult(
      this.endpoint,
      judgement.result,
      this.#latencyMs(judgement.result, judgement.isPenalized, nowMs),
      nowMs,
    );
    this.#close();
    rpc.onAttemptEnd(this, status, judgement);
  }

  /** Whether its time, or that of its RPC, was over before its head came. */
  get #isSilenced(): boolean {
    const isLate = this.#isTimedOut || (this.#rpc.hasEnded && this.#rpc.endCode === deadlineExceeded);
    return isLate && !this.hasHead && this.#sentMs !== undefined;
  }

  #latencyMs(result: AttemptResult, isPenalized: boolean, nowMs: number): number | undefined {
    const sentMs = this.#sentMs;
    if (this.#headMs !== undefined) {
      if (sentMs === undefined || this.#rpc.origin?.receivesStream !== false) return undefined;
      const headMs = this.#headMs - sentMs;
      return isPenalized ? Math.max(headMs, failurePenaltyMs) : headMs;
    }
    const elapsedMs = nowMs - (sentMs ?? nowMs);
    if (isPenalized) return Math.max(elapsedMs, failurePenaltyMs);
    return result === 'unknown' || sentMs === undefined ? undefined : elapsedMs;
  }

  /** Its RPC ended before it: by the caller, by the deadline, or by the bound on the time to the head. */
  #observeCut(nowMs: number): void {
    const rpc = this.#rpc;
    const { cluster } = rpc;
    const { endpoint } = this;
    const isLate = rpc.endCode === deadlineExceeded;
    if (this.hasHead || this.#sentMs === undefined) {
      rpc.countAttempt(isLate ? 'unknown' : 'cancelled');
      return;
    }
    rpc.countAttempt(isLate ? 'local-error' : 'cancelled');
    const elapsedMs = nowMs - this.#sentMs;
    if (isLate) cluster.onResult(endpoint, 'local-error', Math.max(elapsedMs, failurePenaltyMs), nowMs);
    // Not a sample of its latency, except that it is at least this.
    else if (elapsedMs > endpoint.costMs) cluster.onResult(endpoint, 'unknown', elapsedMs, nowMs);
  }

  #disarm(): void {
    if (!this.#isArmed) return;
    this.#isArmed = false;
    this.#runtime.disarm(this);
  }

  #close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#disarm();
    if (this.#use !== undefined) this.#peer.onEnd(this.#use);
    this.#rpc.cluster.onEnd(this.endpoint);
  }
}
