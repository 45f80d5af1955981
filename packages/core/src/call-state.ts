import type { Call, ContextKey, MessageCounts, Protocol, RequestFacts, Side } from './call.js';
import { MeshError } from './errors.js';
import type { Headers } from './headers.js';
import type { ConnectionFacts } from './peer.js';

/** What {@link CallState} is made of. */
export interface CallInit {
  /** Which side of the call we are. */
  readonly side: Side;
  /** What it speaks. */
  readonly protocol: Protocol;
  /** What a policy may decide on. */
  readonly facts: RequestFacts;
  /** Request headers. */
  readonly headers: Headers;
  /** Cluster it goes to. */
  readonly cluster?: string | undefined;
  /** The inbound call in whose handler it was made. */
  readonly parent?: Call | undefined;
  /** When it began, on the monotonic clock, in milliseconds. */
  readonly startedMs: number;
  /** Counts its messages, if it is an RPC. */
  readonly messages?: MessageCounts | undefined;
  /** Low-cardinality name, where it is known at once. */
  readonly operation?: string | undefined;
  /** Told when somebody cancels the call; the adapter tears the wire down. */
  readonly onCancel: (reason: MeshError) => void;
}

/** The {@link Call} of every adapter: one object per call, everything rare is lazy. */
export class CallState implements Call {
  readonly side: Side;
  readonly protocol: Protocol;
  readonly facts: RequestFacts;
  readonly headers: Headers;
  readonly cluster: string | undefined;
  readonly parent: Call | undefined;
  readonly startedMs: number;
  readonly messages: MessageCounts | undefined;
  operation: string | undefined;
  /** Set by the adapter of a client as attempts are sent. */
  connection: ConnectionFacts | undefined;
  #deadlineMs = Number.POSITIVE_INFINITY;
  #controller: AbortController | undefined;
  /** Keys and values in turn: calls have few, and to make a map takes longer than to look through these. */
  #values: unknown[] | undefined;
  #isDone = false;
  readonly #onCancel: (reason: MeshError) => void;

  /** @param init - Facts and storage of the call. */
  constructor(init: CallInit) {
    this.side = init.side;
    this.protocol = init.protocol;
    this.facts = init.facts;
    this.headers = init.headers;
    this.cluster = init.cluster;
    this.parent = init.parent;
    this.startedMs = init.startedMs;
    this.messages = init.messages;
    this.operation = init.operation;
    this.connection = init.side === 'server' ? init.facts.connection : undefined;
    this.#onCancel = init.onCancel;
  }

  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isDone) this.#controller.abort(leftBehind());
    }
    return this.#controller.signal;
  }

  tightenDeadline(deadlineMs: number): void {
    if (deadlineMs < this.#deadlineMs) this.#deadlineMs = deadlineMs;
  }

  cancel(reason: MeshError): void {
    if (this.#isDone) return;
    this.finish(reason);
    this.#onCancel(reason);
  }

  /** For the adapter: the call has ended; aborts the signal if it ended early. */
  finish(reason: MeshError | undefined): void {
    if (this.#isDone) return;
    this.#isDone = true;
    if (reason !== undefined) this.#controller?.abort(reason);
  }

  get<T>(key: ContextKey<T>): T | undefined {
    const at = this.#find(key);
    const own = at < 0 ? undefined : this.#values?.[at + 1];
    if (own !== undefined) return own as T;
    return key.isCarried ? this.parent?.get(key) : undefined;
  }

  set<T>(key: ContextKey<T>, value: T): void {
    const values = (this.#values ??= []);
    const at = this.#find(key);
    if (at < 0) values.push(key, value);
    else values[at + 1] = value;
  }

  /** @returns its place, -1 if it was never set */
  #find(key: ContextKey<unknown>): number {
    const values = this.#values;
    if (values === undefined) return -1;
    for (let i = 0; i < values.length; i += 2) if (values[i] === key) return i;
    return -1;
  }
}

function leftBehind(): MeshError {
  return new MeshError('INMESH_ERR_CANCELLED', 'the call has ended');
}
