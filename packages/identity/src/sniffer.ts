import type { Socket } from 'node:net';
import { createTimer, type Runtime } from '@inmesh/core';

/** What the first bytes of a connection are. */
export type FirstBytes = 'tls' | 'http2' | 'http1';

const preface = Buffer.from('PRI');

/** What a {@link Sniffer} is bounded by. */
export interface SniffLimits {
  /** Longest wait for the first bytes, in milliseconds. */
  readonly timeoutMs: number;
  /** How many connections may be silent at once; the oldest gives way. */
  readonly maxSilent: number;
}

/** Reads the first bytes of connections and puts them back. Silent connections are cut. */
export class Sniffer {
  readonly #runtime: Runtime;
  readonly #limits: SniffLimits;
  readonly #silent = new Set<Socket>();

  /** @param runtime - Time. */
  constructor(runtime: Runtime, limits: SniffLimits) {
    this.#runtime = runtime;
    this.#limits = limits;
  }

  /** Connections that have said nothing yet. */
  get silent(): number {
    return this.#silent.size;
  }

  /** Calls `done` when the first bytes are there; not at all if the connection ends before. */
  sniff(socket: Socket, done: (found: FirstBytes) => void): void {
    const timer = createTimer(() => socket.destroy());
    this.#makeRoom();
    this.#silent.add(socket);
    this.#runtime.arm(timer, this.#limits.timeoutMs);
    const stop = (): void => {
      this.#silent.delete(socket);
      this.#runtime.disarm(timer);
      socket.removeListener('readable', onReadable);
      socket.removeListener('end', onEnd);
      socket.removeListener('close', stop);
    };
    const onEnd = (): void => {
      socket.destroy();
    };
    let seen: Buffer | undefined;
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      // Put back only when it is known what it is: what is put back is readable again at once.
      seen = seen === undefined ? chunk : Buffer.concat([seen, chunk]);
      const found = recognize(seen);
      if (found === undefined) return;
      stop();
      socket.unshift(seen);
      done(found);
    };
    socket.on('readable', onReadable);
    socket.once('end', onEnd);
    socket.once('close', stop);
  }

  #makeRoom(): void {
    if (this.#silent.size < this.#limits.maxSilent) return;
    const [oldest] = this.#silent;
    if (oldest === undefined) return;
    // At once, not when its end is told: many may come before that.
    this.#silent.delete(oldest);
    oldest.destroy();
  }
}

/** `undefined`: more bytes are needed. */
function recognize(chunk: Buffer): FirstBytes | undefined {
  if (chunk[0] === 0x16) return 'tls';
  const length = Math.min(chunk.length, preface.length);
  if (chunk.compare(preface, 0, length, 0, length) !== 0) return 'http1';
  return length === preface.length ? 'http2' : undefined;
}
