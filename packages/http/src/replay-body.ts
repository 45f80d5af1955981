import { MeshError } from '@inmesh/core';

/** Bytes that all calls of this process together keep for another attempt. */
const maxKeptBytes = 16 * 1024 * 1024;

/** Bytes kept now. One count for the process: memory is. */
let keptBytes = 0;

/** For tests: bytes kept for another attempt by the whole process. */
export function replayBytes(): number {
  return keptBytes;
}

type Step = IteratorResult<Uint8Array, undefined>;

const over: Step = { done: true, value: undefined };

function toBytes(chunk: unknown): Uint8Array {
  if (typeof chunk === 'string') return Buffer.from(chunk);
  if (chunk instanceof Uint8Array) return chunk;
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  throw new TypeError('a request body must yield strings or bytes');
}

/**
 * What one attempt reads. Ending it leaves the source alone. A reader that is stopped before its end fails: one that
 * merely ended would look like a complete body, and half of it would be stored as the whole.
 */
export class BodyReader implements AsyncIterableIterator<Uint8Array> {
  readonly #body: ReplayBody;
  #place = 0;
  #state: 'reading' | 'finished' | 'stopped' = 'reading';
  #wake: ((error: MeshError) => void) | undefined;

  /** @param body - Read from its beginning. */
  constructor(body: ReplayBody) {
    this.#body = body;
  }

  /** Whether it has handed out the end of the body. */
  get isFinished(): boolean {
    return this.#state === 'finished';
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<Step> {
    if (this.#state === 'stopped') throw stopped();
    if (this.#state === 'finished') return over;
    const step = await Promise.race([
      this.#body.read(this.#place),
      new Promise<never>((_resolve, reject) => {
        this.#wake = reject;
      }),
    ]);
    this.#wake = undefined;
    // It may have been stopped while the source was read.
    if (this.#isStopped()) throw stopped();
    if (step.done === true) this.#state = 'finished';
    else this.#place++;
    return step;
  }

  return(): Promise<Step> {
    this.stop();
    return Promise.resolve(over);
  }

  /** A reader that waits for a source that never yields must still end. */
  stop(): void {
    if (this.#state !== 'reading') return;
    this.#state = 'stopped';
    this.#wake?.(stopped());
  }

  #isStopped(): boolean {
    return this.#state === 'stopped';
  }
}

function stopped(): MeshError {
  return new MeshError('INMESH_ERR_CANCELLED', 'the attempt that read the body is over', { stackless: true });
}

/**
 * A body that can be sent more than once: what was read of the source is kept while the call is undecided, up to a
 * bound. Beyond it, and once a reply is delivered, nothing is kept and the call cannot be sent again.
 */
export class ReplayBody {
  readonly #source: AsyncIterator<unknown> | Iterator<unknown>;
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  /** Chunks that are not kept anymore; places count on. */
  #dropped = 0;
  #isKeeping = true;
  #isRead = false;
  #pull: Promise<Step> | undefined;
  #reader: BodyReader | undefined;
  #failure: MeshError | undefined;
  #isEnded = false;

  /** @param maxBytes - What is kept at most. */
  constructor(source: AsyncIterable<unknown> | Iterable<unknown>, maxBytes: number) {
    this.#source =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    this.#maxBytes = maxBytes;
  }

  /** Whether it can be read from its beginning. */
  get isReplayable(): boolean {
    return this.#failure === undefined && (!this.#isRead || this.#isKeeping);
  }

  /** Bytes that are held now, read or not. */
  get heldBytes(): number {
    return this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  /** A reader for the next attempt; the one before ends. */
  open(): BodyReader {
    this.#reader?.stop();
    this.#reader = new BodyReader(this);
    return this.#reader;
  }

  /** Nothing will be sent again: what is kept is let go. */
  commit(): void {
    this.#isKeeping = false;
    keptBytes -= this.#bytes;
    this.#bytes = 0;
    // A reader that lags behind still needs what it has not read.
    if (this.#reader === undefined) this.#chunks = [];
  }

  /** The call is over: the source is told, as it would be if undici had read it itself. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#reader?.stop();
    this.#reader = undefined;
    this.commit();
    this.#chunks = [];
    try {
      const ending = this.#source.return?.();
      if (ending instanceof Promise) ending.catch(() => {});
    } catch {
      // It was told; what it makes of it is its own affair.
    }
  }

  /** Chunk at `place`; pulls the source if nobody did. */
  async read(place: number): Promise<Step> {
    const chunk = this.#chunks[place - this.#dropped];
    this.#forgetBefore(place);
    if (chunk !== undefined) return { done: false, value: chunk };
    this.#isRead = true;
    this.#pull ??= this.#next();
    return await this.#pull;
  }

  async #next(): Promise<Step> {
    try {
      const step = await this.#source.next();
      if (step.done === true) return over;
      const chunk = toBytes(step.value);
      this.#keep(chunk);
      this.#pull = undefined;
      return { done: false, value: chunk };
    } catch (error) {
      this.#failure = new MeshError(
        'INMESH_ERR_BODY_FAILED',
        `the request body failed while it was read: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      );
      throw this.#failure;
    }
  }

  /** Stays until it was read, or, while the call may be sent again, until it may not. */
  #keep(chunk: Uint8Array): void {
    if (this.#isKeeping) {
      const fits = this.#bytes + chunk.length <= this.#maxBytes && keptBytes + chunk.length <= maxKeptBytes;
      if (fits) {
        this.#bytes += chunk.length;
        keptBytes += chunk.length;
      } else this.commit();
    }
    this.#chunks.push(chunk);
  }

  /** Once nothing is replayed, what was read is let go. */
  #forgetBefore(place: number): void {
    if (this.#isKeeping) return;
    const count = place - this.#dropped;
    if (count <= 0) return;
    this.#chunks.splice(0, count);
    this.#dropped = place;
  }
}
