import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { type ConnectionFacts, type Logger, MeshError, plainIp, type Runtime } from '@inmesh/core';
import { BurstLog } from './burst-log.js';
import { securedFacts } from './connection-facts.js';
import { cutAt } from './expiring-socket.js';
import { type HandshakeResult, handshakeResult } from './handshake-result.js';
import type { IdentitySnapshot, IdentitySource } from './identity.js';
import { PendingHandshakes } from './pending-handshakes.js';
import type { OnSecure, TlsFrontEnd } from './tls-contract.js';
import { secureContextOptions } from './tls-options.js';

/** `http/1.1` before `h2`: curl and browsers get HTTP/1.1, gRPC clients offer only `h2`. Istio's names beside them. */
export const serverAlpn: readonly string[] = Object.freeze([
  'http/1.1',
  'istio-http/1.1',
  'h2',
  'istio-h2',
  'istio',
]);

/** What {@link createTlsFrontEnd} needs. */
export interface TlsFrontEndOptions {
  /** Who we are and whom we trust. */
  readonly source: IdentitySource;
  /** ALPN protocols, best first. @defaultValue {@link serverAlpn} */
  readonly alpn?: readonly string[];
  /** Time. */
  readonly runtime: Runtime;
  /** Told about refused peers. */
  readonly logger: Logger;
  /** Bound on a handshake, in milliseconds. @defaultValue 5000 */
  readonly handshakeTimeoutMs?: number;
  /**
   * Bound on handshakes under way; the oldest gives way. One address may have a quarter of it, at least 16, loopback
   * all of it. @defaultValue 256
   */
  readonly maxPendingHandshakes?: number;
  /** Told how each handshake ended. @defaultValue nobody */
  readonly onHandshake?: (result: HandshakeResult) => void;
}

/** Who is at the other end, noted while the socket can still be asked. */
interface Caller {
  readonly remoteIp: string;
  readonly remotePort: number | undefined;
  /** It gave way to another: that is logged already. */
  isCut: boolean;
}

/**
 * The TCP socket under a TLS socket. Not documented, but the only way from one to the other; on every line of Node
 * since 0.12, and the tests that run on each line watch it.
 */
function rawOf(socket: TLSSocket): Socket | undefined {
  return (socket as { readonly _parent?: Socket })._parent;
}

class FrontEnd implements TlsFrontEnd {
  readonly #options: TlsFrontEndOptions;
  /** One TLS server per receiver; they never listen. In practice one. */
  readonly #servers = new Map<OnSecure, Server>();
  readonly #unsubscribe: () => void;
  readonly #limit: number;
  readonly #pending: PendingHandshakes;
  readonly #callers = new WeakMap<Socket, Caller>();
  readonly #bursts: BurstLog;
  #snapshot: IdentitySnapshot | undefined;
  #isClosed = false;

  constructor(options: TlsFrontEndOptions) {
    this.#options = options;
    this.#limit = options.maxPendingHandshakes ?? 256;
    this.#pending = new PendingHandshakes(this.#limit);
    this.#bursts = new BurstLog(options.runtime, options.logger);
    this.#unsubscribe = options.source.subscribe((state) =>
      this.#apply(state.kind === 'ready' ? state.value : undefined),
    );
  }

  get pendingHandshakes(): number {
    return this.#pending.size;
  }

  isStale({ peer }: ConnectionFacts): boolean {
    return (
      peer !== undefined && this.#snapshot !== undefined && peer.trustEpoch !== this.#snapshot.trustEpoch
    );
  }

  accept(socket: Socket, onSecure: OnSecure): void {
    // Before anything else: a raw socket without this handler takes the process down.
    socket.on('error', () => socket.destroy());
    const caller: Caller = {
      remoteIp: plainIp(socket.remoteAddress ?? ''),
      remotePort: socket.remotePort,
      isCut: false,
    };
    const snapshot = this.#usable();
    if (this.#isClosed || socket.destroyed || snapshot === undefined) {
      if (!this.#isClosed && snapshot === undefined)
        this.#bursts.warn({ remoteIp: caller.remoteIp }, 'connection cut: no usable identity');
      socket.destroy();
      return;
    }
    try {
      const server = this.#serverFor(onSecure, snapshot);
      this.#callers.set(socket, caller);
      this.#makeRoom(socket, caller);
      socket.once('close', () => this.#pending.delete(socket));
      server.emit('connection', socket);
    } catch (error) {
      this.#pending.delete(socket);
      this.#bursts.warn({ error }, 'connection cut: the identity cannot be served');
      socket.destroy();
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    for (const socket of this.#pending.drain()) this.#cut(socket);
    this.#bursts.close();
  }

  #apply(snapshot: IdentitySnapshot | undefined): void {
    this.#snapshot = snapshot;
    if (snapshot === undefined) return;
    for (const [onSecure, server] of this.#servers) {
      try {
        server.setSecureContext(secureContextOptions(snapshot, this.#options.runtime.wallMs()));
      } catch (error) {
        // Our own sources try an identity before they publish it; one that they did not try serves nobody.
        this.#servers.delete(onSecure);
        this.#options.logger.error({ error }, 'the identity cannot be served');
      }
    }
  }

  /** The identity in force. The source is asked, too: it knows of an expiry before any timer fires. */
  #usable(): IdentitySnapshot | undefined {
    return this.#options.source.state.kind === 'ready' ? this.#snapshot : undefined;
  }

  #makeRoom(socket: Socket, { remoteIp }: Caller): void {
    const oldest = this.#pending.add(socket, remoteIp);
    if (oldest === undefined) return;
    this.#bursts.warn(
      { remoteIp, pending: this.#pending.size, limit: this.#limit, limitPerIp: this.#pending.share },
      'handshakes cut: too many under way, the oldest give way',
    );
    this.#cut(oldest);
  }

  #cut(socket: Socket): void {
    const caller = this.#callers.get(socket);
    if (caller !== undefined) caller.isCut = true;
    socket.destroy();
  }

  #serverFor(onSecure: OnSecure, snapshot: IdentitySnapshot): Server {
    const known = this.#servers.get(onSecure);
    if (known !== undefined) return known;
    const { alpn, runtime, handshakeTimeoutMs } = this.#options;
    const server = createServer({
      ...secureContextOptions(snapshot, runtime.wallMs()),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: [...(alpn ?? serverAlpn)],
      handshakeTimeout: handshakeTimeoutMs ?? 5000,
    });
    // Each accepted socket ends in exactly one of these two.
    server.on('secureConnection', (socket: TLSSocket) => this.#onSecureConnection(socket, onSecure));
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      const raw = rawOf(socket);
      if (raw !== undefined) this.#pending.delete(raw);
      this.#refuse(socket, socket.authorizationError ?? error);
    });
    this.#servers.set(onSecure, server);
    return server;
  }

  #onSecureConnection(socket: TLSSocket, onSecure: OnSecure): void {
    socket.on('error', () => socket.destroy());
    const raw = rawOf(socket);
    const snapshot = this.#usable();
    // Also what gave way in the very moment in which it was done: its TCP socket is destroyed.
    if (raw === undefined || !this.#pending.delete(raw) || this.#isClosed || snapshot === undefined) {
      socket.destroy();
      return;
    }
    try {
      const facts = securedFacts(socket, snapshot.trustEpoch);
      if (facts.peer === undefined)
        throw new MeshError('INMESH_ERR_CERTIFICATE_INVALID', 'the peer has no identity');
      cutAt(socket, facts.peer.notAfterMs, this.#options.runtime);
      this.#options.onHandshake?.('SUCCESS');
      onSecure(socket, facts);
    } catch (error) {
      this.#refuse(socket, error);
    }
  }

  #refuse(socket: TLSSocket, reason: unknown): void {
    const raw = rawOf(socket);
    const caller = raw === undefined ? undefined : this.#callers.get(raw);
    this.#options.onHandshake?.(handshakeResult(reason));
    if (caller?.isCut !== true) {
      this.#options.logger.warn(
        {
          remoteIp: caller?.remoteIp ?? plainIp(socket.remoteAddress ?? ''),
          remotePort: caller?.remotePort ?? socket.remotePort,
          reason: reason instanceof Error ? reason.message : String(reason),
        },
        'peer refused in the TLS handshake',
      );
    }
    socket.destroy();
  }
}

/** Terminates mTLS with the identity in force; a new identity serves new connections at once. */
export function createTlsFrontEnd(options: TlsFrontEndOptions): TlsFrontEnd {
  return new FrontEnd(options);
}
