import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Runtime, Timer } from '@inmesh/core';
import { guardHttp2 } from './http2-guard.js';

/** How long an HTTP/2 connection may do nothing. */
export interface Http2Bounds {
  /** Longest wait for the first stream, and between a question and its answer, in milliseconds. */
  readonly headersTimeoutMs: number;
  /** Longest time without a stream after the first one, in milliseconds; `Infinity` if there is no bound. */
  readonly idleTimeoutMs: number;
}

/** From GOAWAY to the end of the connection, in milliseconds; a client that ignores both is cut. */
const lingerMs = 1000;

/** One timer per connection; a stream costs a counter, and nothing where idle connections may stay. */
class Http2Watch implements Timer {
  timerNext: Timer | undefined;
  timerPrev: Timer | undefined;
  timerDueMs = 0;
  readonly #session: ServerHttp2Session;
  readonly #socket: Socket;
  readonly #bounds: Http2Bounds;
  readonly #runtime: Runtime;
  #streams = 0;
  #isUsed = false;
  #idleSinceMs: number;
  #bytesRead = 0;
  #isAsked = false;
  #isClosing = false;

  constructor(session: ServerHttp2Session, socket: Socket, bounds: Http2Bounds, runtime: Runtime) {
    this.#session = session;
    this.#socket = socket;
    this.#bounds = bounds;
    this.#runtime = runtime;
    this.#idleSinceMs = runtime.now();
  }

  /** Until the connection closes. */
  start(): void {
    const session = this.#session;
    const socket = this.#socket;
    if (this.#bounds.idleTimeoutMs === Number.POSITIVE_INFINITY)
      session.once('stream', () => {
        this.#isUsed = true;
      });
    else this.#countStreams();
    session.on('error', () => socket.destroy());
    // Half a connection is none: without this one that a client closed politely would stay for ever.
    socket.once('end', () => socket.destroy());
    socket.once('close', () => this.#runtime.disarm(this));
    if (!socket.destroyed) this.#runtime.arm(this, this.#bounds.headersTimeoutMs);
  }

  onTimer(): void {
    const { headersTimeoutMs, idleTimeoutMs } = this.#bounds;
    if (this.#isClosing || this.#session.destroyed) {
      this.#socket.destroy();
      return;
    }
    if (this.#streams === 0) {
      const leftMs =
        this.#idleSinceMs + (this.#isUsed ? idleTimeoutMs : headersTimeoutMs) - this.#runtime.now();
      if (leftMs <= 0) {
        this.#close();
        return;
      }
      if (!this.#isAlive()) return;
      this.#runtime.arm(this, Math.min(leftMs, headersTimeoutMs));
      return;
    }
    if (this.#isAlive()) this.#runtime.arm(this, headersTimeoutMs);
  }

  #countStreams(): void {
    const onStreamClose = (): void => this.#onStreamClose();
    this.#session.on('stream', (stream: ServerHttp2Stream) => {
      this.#streams++;
      this.#isUsed = true;
      stream.on('close', onStreamClose);
    });
  }

  #onStreamClose(): void {
    this.#streams--;
    if (this.#streams === 0) this.#idleSinceMs = this.#runtime.now();
  }

  /** GOAWAY, then the end. */
  #close(): void {
    this.#isClosing = true;
    this.#runtime.arm(this, lingerMs);
    this.#session.close();
  }

  /** Whether the peer was heard since the last look; asks it if not, and cuts it if it was asked before. */
  #isAlive(): boolean {
    const { bytesRead } = this.#socket;
    if (bytesRead !== this.#bytesRead) {
      this.#bytesRead = bytesRead;
      this.#isAsked = false;
      return true;
    }
    if (this.#isAsked) {
      this.#socket.destroy();
      return false;
    }
    this.#isAsked = true;
    // The answer counts as bytes.
    this.#session.ping(() => {});
    return true;
  }
}

/**
 * Ends an HTTP/2 connection that nobody uses. node:http2 has no timeout of its own, does not end with a client that
 * only closes its half, and never notices that nghttp2 gave up a connection after a malformed frame: it stops reading.
 * So a connection that said nothing for a while is asked (PING), and cut if it does not answer.
 *
 * @param socket - What `session` runs on, decrypted.
 */
export function watchHttp2(
  session: ServerHttp2Session,
  socket: Socket,
  bounds: Http2Bounds,
  runtime: Runtime,
): void {
  guardHttp2(session);
  new Http2Watch(session, socket, bounds, runtime).start();
}
