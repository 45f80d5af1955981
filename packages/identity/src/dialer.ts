import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { createTimer, isMeshError, type Logger, MeshError, type Runtime, type SpiffeId } from '@inmesh/core';
import { checkLeaf, parseCertificate } from './certificate.js';
import { securedFacts } from './connection-facts.js';
import { cutAt } from './expiring-socket.js';
import { type HandshakeResult, handshakeResult } from './handshake-result.js';
import type { IdentitySnapshot, IdentitySource } from './identity.js';
import type { Dialer, DialOptions, OnDialed, SecureOptions } from './tls-contract.js';
import { clientContext } from './tls-options.js';

/** ALPN lists of a client. A permissive Istio sidecar takes TLS for mesh mTLS only with an `istio` value among them. */
export const clientAlpn = Object.freeze({
  /** For HTTP/1.1. */
  http1: Object.freeze(['istio-http/1.1', 'istio', 'http/1.1']),
  /** For gRPC and HTTP/2. */
  h2: Object.freeze(['istio-h2', 'istio', 'h2']),
});

/** What {@link createDialer} needs. */
export interface DialerOptions {
  /** Who we are and whom we trust. */
  readonly source: IdentitySource;
  /** Time. */
  readonly runtime: Runtime;
  /** Told about peers with a wrong identity. */
  readonly logger: Logger;
  /** Bound on TCP connect and handshake together, in milliseconds. @defaultValue 10_000 */
  readonly connectTimeoutMs?: number;
  /** Bound on a handshake over a socket that exists, in milliseconds. @defaultValue 5000 */
  readonly handshakeTimeoutMs?: number;
  /** Told how each handshake ended. @defaultValue nobody */
  readonly onHandshake?: (result: HandshakeResult) => void;
}

function expectedText(expect: readonly SpiffeId[]): string {
  return expect.length === 0 ? 'no identity' : expect.map((id) => id.uri).join(' or ');
}

/** Checks the peer inside the handshake. Must not throw: Node would take the process down. */
function checkPeer(options: SecureOptions, certificate: PeerCertificate): MeshError | undefined {
  const { expect, cluster, address } = options;
  let found: string;
  try {
    const id = checkLeaf(parseCertificate(certificate.raw));
    if (expect.some((one) => one.uri === id.uri)) return undefined;
    found = id.uri;
  } catch (error) {
    found = `none (${error instanceof Error ? error.message : String(error)})`;
  }
  return new MeshError(
    'INMESH_ERR_PEER_IDENTITY',
    `${cluster} at ${address} proved the identity ${found}, expected ${expectedText(expect)}`,
    {
      details: { cluster, address, found, expected: expect.map((id) => id.uri) },
    },
  );
}

/** Codes of OpenSSL's verification: the chain does not end in a bundle of the peer's trust domain. */
const verification =
  /^(?:UNABLE_TO_|CERT_|SELF_SIGNED|DEPTH_ZERO|INVALID_|PATH_LENGTH|UNSPECIFIED|HOSTNAME_MISMATCH|ERR_TLS_CERT)/;

function translate(error: unknown, options: SecureOptions, isSecuring: boolean): MeshError {
  if (isMeshError(error)) return error;
  const { cluster, address, expect } = options;
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (verification.test(code)) {
    return new MeshError(
      'INMESH_ERR_PEER_IDENTITY',
      `${cluster} at ${address} has a certificate that no trust bundle vouches for (${code}), expected ${expectedText(expect)}`,
      {
        cause: error,
        details: { cluster, address, expected: expect.map((id) => id.uri) },
      },
    );
  }
  if (isSecuring) {
    return new MeshError(
      'INMESH_ERR_PEER_REFUSED',
      `${cluster} at ${address} ended the TLS handshake: ${code || message}`,
      {
        // Within the handshake: no request was written.
        retry: 'elsewhere',
        cause: error,
        details: { cluster, address },
      },
    );
  }
  return new MeshError(
    'INMESH_ERR_CONNECT_FAILED',
    `cannot connect to ${cluster} at ${address}: ${code || message}`,
    {
      cause: error,
      details: { cluster, address },
    },
  );
}

/** Silence after which the kernel asks whether the peer is still there, in milliseconds: nothing else bounds a stream. */
const keepAliveMs = 60_000;

class MeshDialer implements Dialer {
  readonly #options: DialerOptions;
  readonly #cancels = new Set<() => void>();
  #isClosed = false;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  dial(options: DialOptions, done: OnDialed): () => void {
    const { host, port } = options;
    const address = isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
    const timeoutMs = options.timeoutMs ?? this.#options.connectTimeoutMs ?? 10_000;
    const socket = connectTcp({
      host,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMs,
    });
    return this.#start(socket, { ...options, address, timeoutMs }, isIP(host) === 0 ? host : '', done);
  }

  secure(socket: Socket, options: SecureOptions, done: OnDialed): () => void {
    return this.#start(socket, { timeoutMs: this.#options.handshakeTimeoutMs ?? 5000, ...options }, '', done);
  }

  close(): void {
    this.#isClosed = true;
    for (const cancel of this.#cancels) cancel();
  }

  /** The identity in force, or why there is none. */
  #identity(): IdentitySnapshot {
    if (this.#isClosed) throw new MeshError('INMESH_ERR_CLOSED', 'the dialer is closed');
    return this.#options.source.current();
  }

  #start(socket: Socket, options: SecureOptions, servername: string, done: OnDialed): () => void {
    const { runtime } = this.#options;
    let secured: TLSSocket | undefined;
    let isSettled = false;
    const finish = (error: MeshError | undefined): void => {
      if (isSettled) return;
      isSettled = true;
      runtime.disarm(timer);
      this.#cancels.delete(cancel);
      // Where nothing answered there was no handshake.
      if (secured !== undefined) this.#options.onHandshake?.(handshakeResult(error));
      if (error === undefined) done(undefined, secured);
      else {
        secured?.destroy();
        socket.destroy();
        done(error, undefined);
      }
    };
    const cancel = (): void => {
      if (isSettled) return;
      isSettled = true;
      runtime.disarm(timer);
      this.#cancels.delete(cancel);
      secured?.destroy();
      socket.destroy();
    };
    const timer = createTimer(() =>
      finish(
        new MeshError(
          'INMESH_ERR_CONNECT_TIMEOUT',
          `${options.cluster} at ${options.address} was not connected and secured within ${options.timeoutMs ?? 0} ms`,
          {
            details: { cluster: options.cluster, address: options.address },
          },
        ),
      ),
    );
    this.#cancels.add(cancel);
    runtime.arm(timer, options.timeoutMs ?? 0);
    socket.on('error', (error) => finish(translate(error, options, secured !== undefined)));
    const handshake = (): void => {
      if (isSettled) return;
      try {
        secured = this.#handshake(socket, options, servername, finish);
      } catch (error) {
        finish(
          isMeshError(error)
            ? error
            : new MeshError('INMESH_ERR_INTERNAL', 'the TLS handshake could not be started', {
                cause: error,
              }),
        );
      }
    };
    // The handshake begins after TCP connect, with the identity in force then. `connecting` is false for a
    // socket that is connected already; done is never called before this function has returned.
    if (socket.connecting) socket.once('connect', handshake);
    else queueMicrotask(handshake);
    return cancel;
  }

  #handshake(
    socket: Socket,
    options: SecureOptions,
    servername: string,
    finish: (error: MeshError | undefined) => void,
  ): TLSSocket {
    const { runtime, logger } = this.#options;
    const snapshot = this.#identity();
    const secured = connect({
      socket,
      secureContext: clientContext(snapshot, runtime.wallMs()),
      servername,
      ALPNProtocols: [...options.alpn],
      rejectUnauthorized: true,
      checkServerIdentity: (_host, certificate) => checkPeer(options, certificate),
    });
    const fail = (error: unknown): void => {
      const mapped = translate(error, options, true);
      if (mapped.code === 'INMESH_ERR_PEER_IDENTITY')
        logger.warn({ error: mapped, ...mapped.details }, 'peer has another identity');
      finish(mapped);
    };
    secured.on('error', fail);
    secured.once('close', () => fail(new Error('closed')));
    secured.once('secureConnect', () => {
      try {
        const { peer } = securedFacts(secured, snapshot.trustEpoch);
        if (peer === undefined || !options.expect.some((id) => id.uri === peer.id.uri)) {
          throw new MeshError(
            'INMESH_ERR_PEER_IDENTITY',
            `${options.cluster} at ${options.address} proved ${peer?.id.uri ?? 'no identity'}, expected ${expectedText(options.expect)}`,
          );
        }
        cutAt(secured, Math.min(peer.notAfterMs, snapshot.svid.notAfterMs), runtime);
        finish(undefined);
      } catch (error) {
        fail(error);
      }
    });
    return secured;
  }
}

/** Opens mTLS connections with the identity in force. */
export function createDialer(options: DialerOptions): Dialer {
  return new MeshDialer(options);
}
