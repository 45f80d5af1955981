import type { Call, CallEnd } from './call.js';
import type { MeshError } from './errors.js';
import type { Headers } from './headers.js';

/** How an attempt ended. */
export interface AttemptEnd {
  /** HTTP status of its head; 0 if none came. */
  readonly httpStatus: number;
  /** Number of its gRPC status; `undefined` for what is no gRPC, or where none came. */
  readonly grpcStatus: number | undefined;
  /** Why it failed, where it did not end normally. */
  readonly error: MeshError | undefined;
}

/** One attempt of an outbound call, as a trace sees it. */
export interface AttemptTrace {
  /** Headers that tell the next hop where it belongs. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Sends it: other instrumentation does not trace it again. */
  run(send: () => void): void;
  /** It has ended; only the first time counts. */
  end(end: AttemptEnd): void;
}

/** One outbound call, as a trace sees it. */
export interface CallTrace {
  /**
   * An attempt begins.
   *
   * @param number - The first is 1.
   * @param address - `host:port` of the endpoint.
   * @returns `undefined` where it cannot be traced.
   */
  attempt(call: Call, number: number, address: string): AttemptTrace | undefined;
  /** The call has ended. */
  end(call: Call, end: CallEnd): void;
}

/** Sees outbound calls before layers do, where their caller's context is there. */
export interface Tracing {
  /**
   * A call begins in the context of its caller.
   *
   * @returns `undefined` where nobody traces: then it costs nothing from here on.
   */
  begin(): CallTrace | undefined;
  /**
   * Passes on what the inbound call brought of traces and belongs to nobody here. What the caller wrote itself stays.
   *
   * @param trace - Of the outbound call, if there is one: it says itself where the call belongs.
   */
  carry(headers: Headers, parent: Call | undefined, trace: CallTrace | undefined): void;
}
