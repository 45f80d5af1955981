import { type CallProperties, Metadata } from '@grpc/grpc-js';
import type { Call, CallTrace } from '@inmesh/core';

/** What is known of an RPC where its caller's context is there: resolver, selector and picker run in another one. */
export interface CallOrigin {
  /** The inbound call in whose handler it is made. */
  readonly parent: Call | undefined;
  /** Its deadline on the monotonic clock, in milliseconds; `Infinity` if none. */
  readonly deadlineMs: number;
  /** Whether the caller sends a stream: only it knows when the request is whole. */
  readonly sendsStream: boolean;
  /** Whether the reply is a stream. */
  readonly receivesStream: boolean;
  /** Its trace, if somebody traces. */
  readonly trace: CallTrace | undefined;
  /** The caller's handle: ends the RPC wherever it is. */
  readonly handle: CallProperties<unknown, unknown>['call'];
}

/** Metadata of an RPC that remembers where the RPC comes from, in every copy that grpc-js makes of it. */
export class CallMetadata extends Metadata {
  /** Where it comes from. */
  readonly origin: CallOrigin;

  /** @param from - Copied: callers may use one object for many calls. */
  constructor(from: Metadata, origin: CallOrigin) {
    super(from.getOptions());
    this.merge(from);
    this.origin = origin;
  }

  override clone(): Metadata {
    return new CallMetadata(this, this.origin);
  }
}

/** Where an RPC comes from; `undefined` on a channel that is used without a grpc-js `Client`, or past an interceptor that made metadata of its own. */
export function originOf(metadata: Metadata): CallOrigin | undefined {
  return metadata instanceof CallMetadata ? metadata.origin : undefined;
}
