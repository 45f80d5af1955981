import type { MessageCounts } from '@inmesh/core';
import { StreamMeter } from '@inmesh/identity';

/** Bytes before each message: a flag and a length. */
const prefixBytes = 5;

/** Counts messages in a stream of bytes, however they are cut. gRPC over HTTP/2, Length-Prefixed-Message. */
export class FrameCounter {
  /** Messages whose prefix came. */
  messages = 0;
  /** Bytes of the current prefix that came. */
  #prefix = 0;
  #length = 0;
  /** Bytes of the current message that are to come. */
  #left = 0;

  /** Takes the next bytes. */
  take(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        at += taken;
      } else this.#takePrefix(chunk[at++] ?? 0);
    }
  }

  #takePrefix(byte: number): void {
    // The first one is the flag.
    if (this.#prefix > 0) this.#length = this.#length * 256 + byte;
    this.#prefix++;
    if (this.#prefix < prefixBytes) return;
    this.messages++;
    this.#left = this.#length;
    this.#prefix = 0;
    this.#length = 0;
  }
}

/** Counts bytes and messages of an inbound RPC. */
export class MessageMeter extends StreamMeter implements MessageCounts {
  readonly #read = new FrameCounter();
  readonly #written = new FrameCounter();

  get requests(): number {
    return this.#read.messages;
  }

  get responses(): number {
    return this.#written.messages;
  }

  override onRead(chunk: Uint8Array): void {
    super.onRead(chunk);
    this.#read.take(chunk);
  }

  override onWrite(chunk: Uint8Array): void {
    super.onWrite(chunk);
    this.#written.take(chunk);
  }
}
