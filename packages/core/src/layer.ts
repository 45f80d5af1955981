import type { Call, CallEnd, ReplyHead, Side } from './call.js';
import type { MeshError } from './errors.js';
import type { StatusCode } from './status.js';

/** An answer that a layer gives by itself. */
export interface LocalReply {
  /** HTTP status. */
  readonly httpStatus: number;
  /** Reply headers. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** Reply body; ignored for gRPC. */
  readonly body?: string | Uint8Array;
  /** Status for gRPC; derived from `httpStatus` if left out. */
  readonly grpcStatus?: StatusCode;
  /** Message for gRPC. */
  readonly grpcMessage?: string;
}

/** A layer stops a call because it must not go on. */
export interface Rejection {
  /** Tells the two halts apart. */
  readonly kind: 'reject';
  /** Why; for logs and for the caller in this process. */
  readonly error: MeshError;
  /** What the peer is told. @defaultValue the status of `error` and nothing else */
  readonly reply?: LocalReply;
}

/** A layer answers a call itself. */
export interface LocalAnswer {
  /** Tells the two halts apart. */
  readonly kind: 'reply';
  /** The answer. */
  readonly reply: LocalReply;
}

/** A layer stops a call. */
export type Halt = Rejection | LocalAnswer;

/** What a layer says to a request: `undefined` lets it pass. Anything else, `null` too, stops the call as an error. */
export type Verdict = Halt | undefined;

/** What a layer does with the calls of one target. Every phase is optional. */
export interface Phases {
  /** Before the call goes on. May be asynchronous; a promise costs only the call that returns one. */
  request?(call: Call): Verdict | Promise<Verdict>;
  /** When the head of the reply is known, innermost layer first. */
  head?(call: Call, head: ReplyHead): void;
  /** After the last byte, innermost first: exactly once for each layer whose place was reached. */
  end?(call: Call, end: CallEnd): void;
  /** Decides a running call again under new policy; a halt ends the call. Synchronous. */
  recheck?(call: Call): Verdict;
}

/** What a stack is compiled for. */
export interface Target {
  /** Inbound or outbound. */
  readonly side: Side;
  /** Cluster, on the client. */
  readonly cluster?: string;
  /** Local port of the listener, on the server. */
  readonly port?: number;
}

/** A policy: pure description, bound per target. */
export interface Layer {
  /** Unique name in a stack, such as `authorize`. */
  readonly role: string;
  /** `call` sees a call once; `attempt` sees each attempt of it. */
  readonly scope: 'call' | 'attempt';
  /** Why it stands where it stands; printed in errors about order. */
  readonly why: string;
  /** Roles that must come after it, where they are present. */
  readonly before?: readonly string[];
  /** Roles that must come before it, where they are present. */
  readonly after?: readonly string[];
  /** The phases for one target; `undefined` if it has nothing to do there. */
  bind(target: Target): Phases | undefined;
}
