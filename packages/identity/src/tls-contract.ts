import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { ConnectionFacts, MeshError, SpiffeId } from '@inmesh/core';

/** Receives a connection whose peer is verified; called synchronously when the handshake ends. */
export type OnSecure = (socket: TLSSocket, facts: ConnectionFacts) => void;

/** Terminates mTLS on sockets that somebody else accepted. */
export interface TlsFrontEnd {
  /**
   * Takes over `socket` (nothing of it read yet, or the bytes unshifted). On success calls `onSecure` before
   * any application byte is read; on failure destroys the socket and logs.
   */
  accept(socket: Socket, onSecure: OnSecure): void;
  /** Handshakes under way. */
  readonly pendingHandshakes: number;
  /** Whether a connection was proved under an authority set that has lost a member since: it serves no new call. */
  isStale(facts: ConnectionFacts): boolean;
  /** Refuses further sockets and cuts the handshakes under way. Established connections stay. */
  close(): void;
}

/** Called once: with an error, or with a connection whose peer is verified. */
export type OnDialed = (error: MeshError | undefined, socket: TLSSocket | undefined) => void;

/** What {@link Dialer.secure} needs to know. */
export interface SecureOptions {
  /** Identities the peer may have; empty refuses every peer. */
  readonly expect: readonly SpiffeId[];
  /** ALPN protocols to offer, best first. */
  readonly alpn: readonly string[];
  /** Cluster, for errors and logs. */
  readonly cluster: string;
  /** `host:port` of the peer, for errors. */
  readonly address: string;
  /** Bound on the handshake, in milliseconds. @defaultValue the dialer's */
  readonly timeoutMs?: number;
}

/** What {@link Dialer.dial} needs to know. */
export interface DialOptions {
  /** IP address or DNS name. */
  readonly host: string;
  /** TCP port. */
  readonly port: number;
  /** Identities the peer may have; empty refuses every peer. */
  readonly expect: readonly SpiffeId[];
  /** ALPN protocols to offer, best first. */
  readonly alpn: readonly string[];
  /** Cluster, for errors and logs. */
  readonly cluster: string;
  /** Bound on connect and handshake together, in milliseconds. @defaultValue the dialer's */
  readonly timeoutMs?: number;
}

/** Opens mTLS connections to expected identities. */
export interface Dialer {
  /** Connects and secures. Returns a function that gives up (then `done` is not called). */
  dial(options: DialOptions, done: OnDialed): () => void;
  /** TLS over a TCP socket that exists, connected or connecting. Returns a function that gives up. */
  secure(socket: Socket, options: SecureOptions, done: OnDialed): () => void;
  /** Refuses further dials and gives up those under way. Established connections stay. */
  close(): void;
}
