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

/** What one attempt reads. Ending it leaves the source alone. */
class Reader implements AsyncIterableIterator<Uint8Array> {
  readonly #body: ReplayBody;
  #place = 0;
  #isOver = false;
  #wake: (() => void) | undefined;

  constructor(body: ReplayBody) {
    this.#body = body;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<Step> {
    if (this.#isOver) return over;
    const stopped = new Promise<Step>((resolve) => {
      this.#wake = () => resolve(over);
    });
    const step = await Promise.race([this.#body.read(this.#place), stopped]);
    if (this.#isOver || step.done === true) return over;
    this.#place++;
    return step;
  }

  return(): Promise<Step> {
    this.stop();
    return Promise.resolve(over);
  }

  /** A reader that waits for a source that never yields must still end. */
  stop(): void {
    this.#isOver = true;
    this.#wake?.();
  }
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
  #reader: Reader | undefined;
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

  /** What the source threw. */
  get failure(): MeshError | undefined {
    return this.#failure;
  }

  /** A reader for the next attempt; the one before ends. */
  open(): AsyncIterable<Uint8Array> {
    this.#reader?.stop();
    this.#reader = new Reader(this);
    return this.#reader;
  }

  /** The attempt is over: its reader must not wait for the source any longer. */
  stopReading(): void {
    this.#reader?.stop();
    this.#reader = undefined;
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
    this.stopReading();
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
    if (chunk !== undefined) {
      this.#forgetBefore(place);
      return { done: false, value: chunk };
    }
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
