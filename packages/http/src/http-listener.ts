import type { Server } from 'node:http';
import { type Socket, Server as TcpServer } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type ConnectionFacts, createTimer, MeshError } from '@inmesh/core';
import { type FirstBytes, plaintextFacts, Sniffer } from '@inmesh/identity';
import type { HttpListener, HttpListenerOptions } from './http-contract.js';
import { Http2FrontEnd } from './http2-front-end.js';
import { RequestGate } from './request-gate.js';
import { ServerCall } from './server-call.js';
import { requireStrictParser } from './strict-parser.js';

const http2Names = new Set(['h2', 'istio-h2']);
/** What a sidecar of Istio offers for a port whose protocol it does not know; it says nothing about the protocol. */
const anyProtocol = 'istio';

/** How often node:http looks for requests that take too long; its default of 30 s would be the real timeout. */
const checkIntervalMs = 500;

/** Where the server has none: that of node:http. */
const defaultHeadersTimeoutMs = 60_000;

/** How long connections stay open after the listener has closed, for requests that are on their way, in milliseconds. */
const lingerMs = 1000;

type ConnectionListener = (this: Server, socket: Socket) => void;

class Listener implements HttpListener {
  readonly server: Server;
  readonly #options: HttpListenerOptions;
  readonly #originals: readonly ConnectionListener[];
  readonly #sockets = new Set<Socket>();
  readonly #sniffer: Sniffer;
  readonly #innerSniffer: Sniffer;
  readonly #gate: RequestGate;
  readonly #http2: Http2FrontEnd;
  #draining: Promise<void> | undefined;
  #onNoSockets: () => void = () => {};

  constructor(options: HttpListenerOptions) {
    const { server, limits = {}, runtime, logger, tls, mode } = options;
    if (mode !== 'disable' && tls === undefined)
      throw new MeshError('INMESH_ERR_INTERNAL', `a listener with mode ${mode} needs a TLS front end`);
    requireStrictParser(server);
    this.server = server;
    this.#options = options;
    this.#sniffer = new Sniffer(runtime, {
      timeoutMs: limits.sniffTimeoutMs ?? 3000,
      maxSilent: limits.maxSilent ?? 1024,
    });
    const headersTimeoutMs = limits.headersTimeoutMs ?? (server.headersTimeout || defaultHeadersTimeoutMs);
    const maxConnections = limits.maxConnections ?? 10_000;
    // Who got this far proved who it is: it may be silent as long as any client before its request.
    this.#innerSniffer = new Sniffer(runtime, { timeoutMs: headersTimeoutMs, maxSilent: maxConnections });
    this.#gate = new RequestGate(options);
    this.#http2 = new Http2FrontEnd(
      options.http2 ? (request, response) => this.#gate.onHttp2Request(request, response) : undefined,
      {
        headersTimeoutMs,
        idleTimeoutMs: limits.http2IdleTimeoutMs ?? 3_600_000,
      },
      runtime,
      logger,
    );
    server.maxConnections = maxConnections;
    server.on('drop', (data?: { readonly remoteAddress?: string }) =>
      logger.warn(
        { remoteIp: data?.remoteAddress, limit: server.maxConnections },
        'connection cut: too many connections',
      ),
    );
    if (limits.headersTimeoutMs !== undefined) server.headersTimeout = limits.headersTimeoutMs;
    (server as { connectionsCheckingInterval?: number }).connectionsCheckingInterval = checkIntervalMs;
    this.#originals = server.listeners('connection') as ConnectionListener[];
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => this.#onConnection(socket));
  }

  drain({ delayMs, timeoutMs }: { readonly delayMs: number; readonly timeoutMs: number }): Promise<void> {
    this.#draining ??= this.#drain(delayMs, timeoutMs);
    return this.#draining;
  }

  async close(): Promise<void> {
    await this.drain({ delayMs: 0, timeoutMs: 0 });
  }

  async #drain(delayMs: number, timeoutMs: number): Promise<void> {
    const { runtime, live } = this.#options;
    this.#gate.isDraining = true;
    // Also those that began before: their connections would be idle afterwards, and closing one may lose a request.
    live.forEach((one) => {
      if (one instanceof ServerCall) one.closeAfter();
    });
    // Told at once, so that clients move while we still accept: nothing that is under way is lost.
    this.#http2.drain(false);
    // Their sessions outlast the calls, which get a status when their time is over.
    this.#options.grpc?.()?.drain(delayMs + timeoutMs + 2 * lingerMs);
    if (this.server.listening && delayMs > 0) await runtime.sleep(delayMs);
    const closed = new Promise<void>((resolve) => {
      // Not http's own close, which ends idle connections at once: a request may be on its way on each of them.
      if (this.server.listening) TcpServer.prototype.close.call(this.server, () => resolve());
      else resolve();
    });
    // Those that came back meanwhile find nobody now, and go elsewhere.
    this.#http2.drain(true);
    this.#options.grpc?.()?.drain(timeoutMs + 2 * lingerMs);
    if (timeoutMs > 0) {
      await this.#within(Math.min(lingerMs, timeoutMs), this.#whenNoSockets());
      this.server.closeIdleConnections();
      await this.#within(timeoutMs, live.whenIdle());
      if (live.size > 0) {
        live.forEach((one) => one.conclude());
        await this.#within(lingerMs, live.whenIdle());
      }
      if (live.size === 0) await this.#within(timeoutMs, this.#whenFlushed());
    }
    this.#http2.destroy();
    // Ends node:http's own bookkeeping, too.
    this.server.close(() => {});
    this.server.closeAllConnections();
    for (const socket of this.#sockets) socket.destroy();
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

  /** Resolves when no socket has bytes of a reply left to send. */
  async #whenFlushed(): Promise<void> {
    for (let i = 0; i < 100 && [...this.#sockets].some((socket) => socket.writableLength > 0); i++)
      await this.#options.runtime.sleep(10);
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
    const { mode, tls, probePaths = [] } = this.#options;
    if (found === 'tls' && mode !== 'disable') {
      tls?.accept(socket, this.#onSecure);
      return;
    }
    // Strict means no byte to plaintext, not even an error; with probe paths the request decides.
    const mayBeProbe = probePaths.length > 0 && found === 'http1';
    if (found === 'tls' || (mode === 'strict' && !mayBeProbe)) {
      this.#options.onWrongSecurity?.(found === 'tls' ? 'tls' : 'plaintext');
      socket.destroy();
      return;
    }
    this.#serve(socket, plaintextFacts(socket), found === 'http2');
  }

  readonly #onSecure = (socket: TLSSocket, facts: ConnectionFacts): void => {
    const { alpnProtocol } = socket;
    if (typeof alpnProtocol === 'string' && alpnProtocol !== anyProtocol) {
      this.#serve(socket, facts, http2Names.has(alpnProtocol));
      return;
    }
    this.#innerSniffer.sniff(socket, (found) => {
      if (found === 'tls') {
        socket.destroy();
        return;
      }
      // Without a protocol that was agreed on, node:http2 would answer "Unknown ALPN Protocol".
      if (found === 'http2') socket.alpnProtocol = 'h2';
      this.#serve(socket, facts, found === 'http2');
    });
  };

  #serve(socket: Socket, facts: ConnectionFacts, isHttp2: boolean): void {
    if (isHttp2) this.#http2.accept(socket, facts, this.#options.grpc?.());
    else for (const original of this.#originals) original.call(this.server, socket);
  }
}

/**
 * Puts the mesh before an `http.Server`: its connections are sniffed and secured, its requests cleaned and decided,
 * before anything of the application sees them. The server itself listens, so its timeouts, `address()` and
 * `close()` keep working.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID` if the HTTP parser is lenient.
 */
export function createHttpListener(options: HttpListenerOptions): HttpListener {
  return new Listener(options);
}
