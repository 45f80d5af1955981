import type { Duplex } from 'node:stream';
import type { Halt, Runtime } from '@inmesh/core';
import { type CountingSocket, takeRead, takeWritten } from '@inmesh/identity';
import type { Exit } from './exit.js';
import { replyOf, sendRawReply } from './local-reply.js';

/** A close frame of a server with status 1001, "going away". RFC 6455 §5.5.1, §7.4.1. */
const goingAway = Uint8Array.of(0x88, 0x02, 0x03, 0xe9);

/** What a client of an upgrade or CONNECT may send before its answer, in bytes; nobody looks further. */
const maxEarlyBytes = 65_536;

/** Status of a reply that begins like this; 0 if it is none. RFC 9112 §4. */
function statusIn(chunk: unknown): number {
  const text =
    chunk instanceof Uint8Array ? Buffer.from(chunk.subarray(0, 12)).toString('latin1') : String(chunk);
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? 0);
}

type Send = (...args: unknown[]) => unknown;

/** Calls `look` with the first thing that somebody writes. */
function onFirstWrite(socket: Duplex, look: (chunk: unknown) => void): void {
  const plain = { write: socket.write.bind(socket) as Send, end: socket.end.bind(socket) as Send };
  const watched =
    (send: Send): Send =>
    (...args) => {
      Object.assign(socket, plain);
      look(args[0]);
      return send(...args);
    };
  Object.assign(socket, { write: watched(plain.write), end: watched(plain.end) });
}

/** An {@link Exit} through the socket of an upgrade or CONNECT. */
export class SocketExit implements Exit {
  readonly #socket: Duplex;
  readonly #connection: CountingSocket;
  readonly #runtime: Runtime;
  readonly #isWebSocket: boolean;
  /** Of our own reply. */
  #httpStatus = 0;
  /** Of the handler's. */
  #handlerStatus = 0;
  #stopWatching: (() => void) | undefined;

  /**
   * @param socket - Handed over by node:http, which reads no further. The connection's own, except where Node 26 reads a
   * body first.
   * @param connection - What bytes are counted of.
   * @param isWebSocket - Whether the client asked for a WebSocket.
   */
  constructor(socket: Duplex, connection: CountingSocket, runtime: Runtime, isWebSocket: boolean) {
    this.#socket = socket;
    this.#connection = connection;
    this.#runtime = runtime;
    this.#isWebSocket = isWebSocket;
  }

  /** Routers see no tunnels. */
  get operation(): undefined {
    return undefined;
  }

  takeRead(): number {
    return takeRead(this.#connection);
  }

  takeWritten(): number {
    return takeWritten(this.#connection);
  }

  get httpStatus(): number {
    return this.#httpStatus || this.#handlerStatus;
  }

  get isGone(): boolean {
    return this.#socket.destroyed;
  }

  /** A tunnel ends when either side closes it. */
  get isComplete(): boolean {
    return this.#socket.errored === null;
  }

  reply(halt: Halt): void {
    const reply = replyOf(halt);
    this.#httpStatus = reply.httpStatus;
    sendRawReply(this.#socket, reply, this.#runtime);
  }

  overrule(): void {
    this.#socket.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  conclude(): void {
    // Before its handshake, or after another answer, it is none.
    if (!this.#isWebSocket || this.#handlerStatus !== 101 || this.#socket.writableEnded) return;
    this.#socket.write(goingAway);
    this.#socket.end();
    // Whoever reads no further does not see the other side close.
    this.#socket.resume();
  }

  closeAfter(): void {
    // A tunnel has its connection for itself.
  }

  /** Reads ahead: who does not read does not see the other side close. The bytes are put back. */
  watch(): void {
    const socket = this.#socket;
    const early: Buffer[] = [];
    let bytes = 0;
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      early.push(chunk);
      bytes += chunk.length;
      if (bytes > maxEarlyBytes) socket.removeListener('readable', onReadable);
    };
    // Before its answer no client closes its half only.
    const onEnd = (): void => {
      socket.destroy();
    };
    socket.on('readable', onReadable);
    socket.once('end', onEnd);
    const stopWatching = (): void => {
      socket.removeListener('readable', onReadable);
      socket.removeListener('end', onEnd);
      if (early.length > 0 && !socket.destroyed) socket.unshift(Buffer.concat(early));
    };
    this.#stopWatching = stopWatching;
  }

  unwatch(): void {
    this.#stopWatching?.();
    this.#stopWatching = undefined;
    onFirstWrite(this.#socket, (chunk) => {
      this.#handlerStatus = statusIn(chunk);
    });
  }
}
