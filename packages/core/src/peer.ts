import type { Introduction } from './introduction.js';
import type { SpiffeId } from './spiffe-id.js';

/** Identity that a peer proved in its TLS handshake. Frozen, read once per connection. */
export interface PeerIdentity {
  /** The one URI SAN of its X509-SVID. */
  readonly id: SpiffeId;
  /** End of validity of its certificate, wall clock in milliseconds. */
  readonly notAfterMs: number;
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  /** Serial number, lower-case hex. */
  readonly serial: string;
  /** Our trust epoch when it connected; grows when a root is removed. */
  readonly trustEpoch: number;
}

/** What is known of a connection. Frozen, made once, shared by all its calls. */
export interface ConnectionFacts {
  /** Identity of the peer; `undefined` on plaintext. */
  readonly peer: PeerIdentity | undefined;
  /** Whether the bytes are encrypted. */
  readonly isEncrypted: boolean;
  /** Address of the TCP peer, IPv4-mapped IPv6 unmapped, no zone. */
  readonly remoteIp: string;
  /** Port of the TCP peer. */
  readonly remotePort: number;
  /** Address the peer connected to. */
  readonly localIp: string;
  /** Port the peer connected to: the workload's port. */
  readonly localPort: number;
  /** Server name of the ClientHello, empty if none. */
  readonly sni: string;
  /** What the peer says of itself; the one part that changes. `undefined` where it proved no identity. */
  readonly introduction?: Introduction;
}

/** Removes the IPv4-mapped prefix and an IPv6 zone, so that CIDR rules match what an operator writes. */
export function plainIp(address: string): string {
  const zone = address.indexOf('%');
  const bare = zone === -1 ? address : address.slice(0, zone);
  return bare.length > 7 && bare.slice(0, 7).toLowerCase() === '::ffff:' && bare.includes('.')
    ? bare.slice(7)
    : bare;
}

/** What is known of the connection of an outbound call before one is picked: nothing. */
export const unknownConnection: ConnectionFacts = Object.freeze({
  peer: undefined,
  isEncrypted: false,
  remoteIp: '',
  remotePort: 0,
  localIp: '',
  localPort: 0,
  sni: '',
});
