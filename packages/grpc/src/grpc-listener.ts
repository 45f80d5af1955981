import { createServer, type Socket, type Server as TcpServer } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Server } from '@grpc/grpc-js';
import { type ConnectionFacts, createTimer, MeshError, type MtlsMode } from '@inmesh/core';
import { type FirstBytes, plaintextFacts, Sniffer, type TlsFrontEnd, watchHttp2 } from '@inmesh/identity';
import { type AttachedGrpcServer, attachGrpcServer, type GrpcServerOptions } from './grpc-server.js';
import type { StreamListener } from './seams.js';

/** What {@link createGrpcListener} needs. */
export interface GrpcListenerOptions extends GrpcServerOptions {
  /** The server, services added. */
  readonly server: Server;
  /** Terminates mTLS; `undefined` with mode `disable` only. */
  readonly tls: TlsFrontEnd | undefined;
  /** What is accepted. */
  readonly mode: MtlsMode;
  /** Longest wait for the first bytes, in milliseconds. @defaultValue 3000 */
  readonly sniffTimeoutMs?: number;
  /**
   * Longest wait for the first call of a connection, and between a question and its answer on one that says nothing,
   * in milliseconds. @defaultValue 60_000
   */
  readonly headersTimeoutMs?: number;
  /** Connections; further ones are cut. @defaultValue 10_000 */
  readonly maxConnections?: number;
}

/** A port of its own for a gRPC server. */
export interface GrpcListener {
  /** The TCP server; call its `listen()`. */
  readonly server: TcpServer;
  /** GOAWAY at once, still accepting for `delayMs`, then waits for calls. */
  drain(options: { readonly delayMs: number; readonly timeoutMs: number }): Promise<void>;
  /** Cuts every connection. */
  close(): Promise<void>;
}

/** How long a connection may stay after GOAWAY though it has no call, in milliseconds. */
const lingerMs = 1000;
/** Same as `http.Server.headersTimeout` of Node.js. */
const defaultHeadersTimeoutMs = 60_000;

const refuseHttp: StreamListener = (stream) => {
  stream.respond({ ':status': 415 }, { endStream: true });
};

class Listener implements GrpcListener {
  readonly server: TcpServer;
  readonly #options: GrpcListenerOptions;
  readonly #attached: AttachedGrpcServer;
  readonly #sniffer: Sniffer;
  /** Whether nobody listens any more. */
  #isLast = false;
  readonly #sockets = new Set<Socket>();
  #onNoSockets: () => void = () => {};

  constructor(options: GrpcListenerOptions) {
    if (options.mode !== 'disable' && options.tls === undefined)
      throw new MeshError(
        'INMESH_ERR_INTERNAL',
        `a listener with mode ${options.mode} needs a TLS front end`,
      );
    this.#options = options;
    this.#attached = attachGrpcServer(options.server, {
      ...options,
      isStale: (facts) => options.tls?.isStale(facts) ?? false,
    });
    this.#sniffer = new Sniffer(options.runtime, {
      timeoutMs: options.sniffTimeoutMs ?? 3000,
      maxSilent: 1024,
    });
    this.server = createServer({ noDelay: true }, (socket) => this.#onConnection(socket));
    this.server.maxConnections = options.maxConnections ?? 10_000;
  }

  async drain({
    delayMs,
    timeoutMs,
  }: {
    readonly delayMs: number;
    readonly timeoutMs: number;
  }): Promise<void> {
    const { runtime, live } = this.#options;
    // Sessions outlast the calls, which get a status when their time is over.
    this.#attached.drain(delayMs + timeoutMs + 2 * lingerMs);
    if (this.server.listening && delayMs > 0) await runtime.sleep(delayMs);
    const closed = new Promise<void>((resolve) =>
      this.server.listening ? this.server.close(() => resolve()) : resolve(),
    );
    // Clients that came back meanwhile find nobody now, and go elsewhere.
    this.#isLast = true;
    this.#attached.drain(timeoutMs + 2 * lingerMs);
    if (timeoutMs > 0) {
      // Calls that were under way when GOAWAY was sent still arrive; callers close when their last one has ended.
      await this.#within(Math.min(lingerMs, timeoutMs), this.#whenNoSockets());
      await this.#within(timeoutMs, live.whenIdle());
      if (live.size > 0) {
        live.forEach((one) => one.conclude());
        await this.#within(lingerMs, live.whenIdle());
      }
    }
    this.#attached.close();
    for (const socket of this.#sockets) socket.destroySoon();
    await closed;
  }

  async #within(ms: number, done: Promise<void>): Promise<void> {
    const { runtime } = this.#options;
    let expire: () => void = () => {};
    const expired = new Promise<void>((resolve) => {
      expire = resolve;
    });
    const timer = createTimer(() => expire());
    runtime.arm(timer, ms);
    await Promise.race([done, expired]);
    runtime.disarm(timer);
  }

  #whenNoSockets(): Promise<void> {
    if (this.#sockets.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onNoSockets = resolve;
    });
  }

  async close(): Promise<void> {
    await this.drain({ delayMs: 0, timeoutMs: 0 });
  }

  #onConnection(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) this.#onNoSockets();
    });
    this.#sniffer.sniff(socket, (found) => this.#onFirstBytes(socket, found));
  }

  #onFirstBytes(socket: Socket, found: FirstBytes): void {
    const { mode, tls } = this.#options;
    if (found === 'tls' && mode !== 'disable') tls?.accept(socket, this.#onSecure);
    else if (found === 'http2' && mode !== 'strict') this.#accept(socket, plaintextFacts(socket));
    else socket.destroy();
  }

  readonly #onSecure = (socket: TLSSocket, facts: ConnectionFacts): void => {
    if (socket.alpnProtocol === 'h2' || socket.alpnProtocol === 'istio-h2') this.#accept(socket, facts);
    else socket.destroy();
  };

  #accept(socket: Socket, facts: ConnectionFacts): void {
    const { headersTimeoutMs = defaultHeadersTimeoutMs, runtime } = this.#options;
    const session = this.#attached.accept(socket, facts, refuseHttp);
    if (session === undefined) {
      socket.destroy();
      return;
    }
    // Clients of gRPC keep their connections: one that was used stays as long as its peer answers.
    watchHttp2(session, socket, { headersTimeoutMs, idleTimeoutMs: Number.POSITIVE_INFINITY }, runtime);
    if (this.#isLast) session.close();
  }
}

/** Gives a gRPC server a port of its own, without an HTTP application. */
export function createGrpcListener(options: GrpcListenerOptions): GrpcListener {
  return new Listener(options);
}
