import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { type ConnectionFacts, type Logger, MeshError, plainIp, type Runtime } from '@inmesh/core';
import { securedFacts } from './connection-facts.js';
import { cutAt } from './expiring-socket.js';
import type { IdentitySnapshot, IdentitySource } from './identity.js';
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
  /** Bound on handshakes under way; further connections are cut. @defaultValue 256 */
  readonly maxPendingHandshakes?: number;
}

class FrontEnd implements TlsFrontEnd {
  readonly #options: TlsFrontEndOptions;
  /** One TLS server per receiver; they never listen. In practice one. */
  readonly #servers = new Map<OnSecure, Server>();
  readonly #unsubscribe: () => void;
  #snapshot: IdentitySnapshot | undefined;
  #pending = 0;
  #isClosed = false;

  constructor(options: TlsFrontEndOptions) {
    this.#options = options;
    this.#unsubscribe = options.source.subscribe((state) => {
      this.#snapshot = state.kind === 'ready' ? state.value : undefined;
      if (this.#snapshot === undefined) return;
      for (const server of this.#servers.values()) {
        server.setSecureContext(secureContextOptions(this.#snapshot, options.runtime.wallMs()));
      }
    });
  }

  get pendingHandshakes(): number {
    return this.#pending;
  }

  isStale({ peer }: ConnectionFacts): boolean {
    return (
      peer !== undefined && this.#snapshot !== undefined && peer.trustEpoch !== this.#snapshot.trustEpoch
    );
  }

  accept(socket: Socket, onSecure: OnSecure): void {
    // Before anything else: a raw socket without this handler takes the process down.
    socket.on('error', () => socket.destroy());
    const snapshot = this.#snapshot;
    const limit = this.#options.maxPendingHandshakes ?? 256;
    if (this.#isClosed || snapshot === undefined || this.#pending >= limit) {
      this.#options.logger.warn(
        { remoteIp: plainIp(socket.remoteAddress ?? ''), pending: this.#pending, limit },
        snapshot === undefined
          ? 'connection cut: no usable identity'
          : 'connection cut: too many handshakes or closing',
      );
      socket.destroy();
      return;
    }
    this.#pending++;
    this.#serverFor(onSecure, snapshot).emit('connection', socket);
  }

  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
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
    server.on('secureConnection', (socket: TLSSocket) => {
      this.#pending--;
      this.#onSecureConnection(socket, onSecure);
    });
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      this.#pending--;
      this.#refuse(socket, socket.authorizationError ?? error);
    });
    this.#servers.set(onSecure, server);
    return server;
  }

  #onSecureConnection(socket: TLSSocket, onSecure: OnSecure): void {
    socket.on('error', () => socket.destroy());
    const snapshot = this.#snapshot;
    if (this.#isClosed || snapshot === undefined) {
      socket.destroy();
      return;
    }
    try {
      const facts = securedFacts(socket, snapshot.trustEpoch);
      if (facts.peer === undefined)
        throw new MeshError('INMESH_ERR_CERTIFICATE_INVALID', 'the peer has no identity');
      cutAt(socket, facts.peer.notAfterMs, this.#options.runtime);
      onSecure(socket, facts);
    } catch (error) {
      this.#refuse(socket, error);
    }
  }

  #refuse(socket: TLSSocket, reason: unknown): void {
    const text = reason instanceof Error ? reason.message : String(reason);
    this.#options.logger.warn(
      { remoteIp: plainIp(socket.remoteAddress ?? ''), remotePort: socket.remotePort, reason: text },
      'peer refused in the TLS handshake',
    );
    socket.destroy();
  }
}

/** Terminates mTLS with the identity in force; a new identity serves new connections at once. */
export function createTlsFrontEnd(options: TlsFrontEndOptions): TlsFrontEnd {
  return new FrontEnd(options);
}
