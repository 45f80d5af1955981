import type { LocalReply } from '@inmesh/core';
import type { LegacyHandler, RawField } from './legacy-handler.js';

/** Plays a reply that was made here to a caller, as if it came from the wire. Honours backpressure. */
export class LocalReplyPlayer {
  readonly #reply: LocalReply;
  readonly #caller: LegacyHandler;
  readonly #editHead: (status: number, fields: readonly RawField[]) => readonly RawField[];
  readonly #isOver: () => boolean;
  readonly #onEnd: () => void;
  readonly #body: Buffer;
  #isBodySent = false;

  /**
   * @param isHead - Whether the request was a HEAD: its reply has no body.
   * @param editHead - Lets layers and routes change the head.
   * @param isOver - Whether the caller gave up.
   * @param onEnd - Told before the caller is told of the end.
   */
  constructor(
    reply: LocalReply,
    isHead: boolean,
    caller: LegacyHandler,
    editHead: (status: number, fields: readonly RawField[]) => readonly RawField[],
    isOver: () => boolean,
    onEnd: () => void,
  ) {
    this.#reply = reply;
    this.#caller = caller;
    this.#editHead = editHead;
    this.#isOver = isOver;
    this.#onEnd = onEnd;
    const isEmpty = isHead || reply.httpStatus === 204 || reply.httpStatus === 304;
    this.#body = isEmpty ? Buffer.alloc(0) : Buffer.from(reply.body ?? '');
  }

  /** Begins. */
  play(): void {
    const { httpStatus, headers = [] } = this.#reply;
    const lines = [...headers, ['content-length', String(this.#body.length)] as const];
    const fields = lines.flatMap(([name, value]) => [Buffer.from(name), Buffer.from(value)]);
    const head = this.#editHead(httpStatus, fields);
    if (this.#caller.onHeaders?.(httpStatus, head, () => this.#step(), '') !== false) this.#step();
  }

  #step(): void {
    if (this.#isOver()) return;
    if (!this.#isBodySent) {
      this.#isBodySent = true;
      if (this.#body.length > 0 && this.#caller.onData?.(this.#body) === false) return;
      if (this.#isOver()) return;
    }
    this.#onEnd();
    this.#caller.onComplete?.([]);
  }
}
