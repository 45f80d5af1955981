import type { ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { createTimer, type Runtime, type Timer } from '@inmesh/core';

/** From GOAWAY to the end of a connection that was never used, in milliseconds. */
const lingerMs = 1000;

/** The watch over one connection. */
class Http2Watch {
  readonly #session: ServerHttp2Session;
  readonly #socket: Socket;
  readonly #waitMs: number;
  readonly #runtime: Runtime;
  readonly #timer: Timer = createTimer(() => this.#look());
  #isUsed = false;
  #isClosing = false;
  #isAsked = false;
  #bytesRead = 0;

  constructor(session: ServerHttp2Session, socket: Socket, waitMs: number, runtime: Runtime) {
    this.#session = session;
    this.#socket = socket;
    this.#waitMs = waitMs;
    this.#runtime = runtime;
  }

  /** Until the connection closes. */
  start(): void {
    const socket = this.#socket;
    this.#session.once('stream', () => {
      this.#isUsed = true;
    });
    this.#session.on('error', () => socket.destroy());
    // Half a connection is none: without this one that a client closed politely would stay for ever.
    socket.once('end', () => socket.destroy());
    socket.once('close', () => this.#runtime.disarm(this.#timer));
    if (!socket.destroyed) this.#arm(this.#waitMs);
  }

  #arm(ms: number): void {
    this.#runtime.arm(this.#timer, ms);
  }

  #look(): void {
    const session = this.#session;
    if (this.#isClosing || session.destroyed || !this.#isAlive()) {
      this.#socket.destroy();
      return;
    }
    if (this.#isUsed) {
      this.#arm(this.#waitMs);
      return;
    }
    this.#isClosing = true;
    this.#arm(lingerMs);
    session.close();
  }

  /** Whether the peer was heard since the last look; asks it if not. `false` if it was asked before. */
  #isAlive(): boolean {
    const { bytesRead } = this.#socket;
    const isHeard = bytesRead !== this.#bytesRead;
    this.#bytesRead = bytesRead;
    if (!isHeard && this.#isAsked) return false;
    this.#isAsked = !isHeard;
    // The answer counts as bytes.
    if (!isHeard) this.#session.ping(() => {});
    return true;
  }
}

/**
 * Ends an HTTP/2 connection that nobody uses: one without a first stream for `waitMs`, and one whose peer says nothing
 * for that long and does not answer (PING) either. node:http2 has no timeout of its own, does not end with a client
 * that only closes its half, and stops reading, without a word, after a malformed frame. A connection that was used
 * stays as long as its peer answers: clients of gRPC keep theirs.
 *
 * @param socket - What `session` runs on, decrypted.
 * @param waitMs - In milliseconds.
 */
export function watchHttp2(
  session: ServerHttp2Session,
  socket: Socket,
  waitMs: number,
  runtime: Runtime,
): void {
  new Http2Watch(session, socket, waitMs, runtime).start();
}
