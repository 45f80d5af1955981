import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import {
  type ConnectionFacts,
  createIntroduction,
  MeshError,
  type PeerIdentity,
  plainIp,
} from '@inmesh/core';
import { type Certificate, checkLeaf, parseCertificate } from './certificate.js';

/**
 * A symbol on the socket and no WeakMap: http2 hands out a Proxy, which a WeakMap does not find. Registered, so that
 * two installed copies of this package know each other's connections.
 */
const factsKey: unique symbol = Symbol.for('inmesh.connection-facts/1');

interface Marked {
  readonly [factsKey]?: ConnectionFacts;
}

/** The facts of a connection that came through a {@link TlsFrontEnd}, a {@link Dialer} or {@link plaintextFacts}. */
export function connectionFacts(socket: unknown): ConnectionFacts | undefined {
  return typeof socket === 'object' && socket !== null ? (socket as Marked)[factsKey] : undefined;
}

function mark(socket: Socket, facts: ConnectionFacts): ConnectionFacts {
  Object.freeze(facts);
  // Not writable: an application must not be able to change who its caller is.
  Object.defineProperty(socket, factsKey, { value: facts });
  return facts;
}

function addresses(
  socket: Socket,
): Pick<ConnectionFacts, 'remoteIp' | 'remotePort' | 'localIp' | 'localPort'> {
  return {
    remoteIp: plainIp(socket.remoteAddress ?? ''),
    remotePort: socket.remotePort ?? 0,
    localIp: plainIp(socket.localAddress ?? ''),
    localPort: socket.localPort ?? 0,
  };
}

/** Makes and attaches the facts of a plaintext connection: it has no peer identity. */
export function plaintextFacts(socket: Socket): ConnectionFacts {
  return (
    connectionFacts(socket) ??
    mark(socket, { peer: undefined, isEncrypted: false, ...addresses(socket), sni: '' })
  );
}

/** Identity of a leaf certificate. @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID` */
function peerOf(certificate: Certificate, trustEpoch: number): PeerIdentity {
  return Object.freeze({
    id: checkLeaf(certificate),
    notAfterMs: certificate.notAfterMs,
    fingerprint: createHash('sha256').update(certificate.der).digest('hex'),
    serial: certificate.serial,
    trustEpoch,
  });
}

/**
 * Reads and freezes who the peer is, when the handshake has ended and before any byte is read. `authorized` alone
 * is not believed: on Node 20 and 22 a resumed session without a certificate is "authorized".
 *
 * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID` unless the peer proved an identity in this very handshake.
 */
export function securedFacts(socket: TLSSocket, trustEpoch: number): ConnectionFacts {
  if (!socket.authorized) throw new MeshError('INMESH_ERR_CERTIFICATE_INVALID', 'the peer is not authorized');
  if (socket.isSessionReused())
    throw new MeshError('INMESH_ERR_CERTIFICATE_INVALID', 'the peer resumed a session');
  // Once only: the call consumes the chain.
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined)
    throw new MeshError('INMESH_ERR_CERTIFICATE_INVALID', 'the peer has no certificate');
  const { servername } = socket as { servername?: string | false };
  return mark(socket, {
    peer: peerOf(parseCertificate(certificate.raw), trustEpoch),
    isEncrypted: true,
    ...addresses(socket),
    sni: typeof servername === 'string' ? servername.toLowerCase() : '',
    introduction: createIntroduction(),
  });
}
