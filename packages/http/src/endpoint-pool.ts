import type { Cluster, Endpoint, Runtime } from '@inmesh/core';
import { clientAlpn, connectionFacts, type Dialer, type IdentitySource } from '@inmesh/identity';
import type { Dispatcher, Pool } from 'undici';

/** The parts of undici that are used; loaded when the first call is made. */
export interface UndiciParts {
  /** Pool of connections to one endpoint. */
  readonly Pool: typeof Pool;
}

/** What pools are made with. */
export interface PoolOptions {
  /** Opens connections. */
  readonly dialer: Dialer;
  /** Who we are. */
  readonly source: IdentitySource;
  /** Connections to one endpoint. */
  readonly connections: number;
  /** Time. */
  readonly runtime: Runtime;
}

/** A certificate life that is never reached; until a first connection tells the real one. */
const noLimitMs = 86_400_000;

/**
 * Connections to one endpoint under one identity. They retire long before a certificate ends: a connection that
 * is cut at `notAfter` would take a request with it.
 */
export class EndpointPool {
  /** `host:port`. */
  readonly address: string;
  readonly #undici: UndiciParts;
  readonly #options: PoolOptions;
  readonly #cluster: Cluster;
  readonly #endpoint: Endpoint;
  #pool: Pool;
  #ttlMs = noLimitMs;

  /** @param cluster - Its identities are the only ones that are accepted. */
  constructor(undici: UndiciParts, options: PoolOptions, cluster: Cluster, endpoint: Endpoint) {
    this.#undici = undici;
    this.#options = options;
    this.#cluster = cluster;
    this.#endpoint = endpoint;
    this.address = `${endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`;
    this.#pool = this.#createPool();
  }

  /** Sends a request. */
  dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#pool.dispatch(request, handler);
  }

  /** Ends when the requests under way have. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  /** Cuts everything. */
  async destroy(error: Error): Promise<void> {
    await this.#pool.destroy(error);
  }

  #createPool(): Pool {
    const { dialer, connections } = this.#options;
    const { host, port } = this.#endpoint;
    const pool: Pool = new this.#undici.Pool(`http://${this.#cluster.name}`, {
      connections,
      pipelining: 1,
      clientTtl: this.#ttlMs,
      connect: (_options, done) => {
        dialer.dial(
          {
            host,
            port,
            expect: this.#cluster.identities,
            alpn: clientAlpn.http1,
            cluster: this.#cluster.name,
          },
          (error, socket) => {
            if (socket === undefined) done(error ?? new Error('no connection'), null);
            else {
              this.#shorten(socket);
              done(null, socket);
            }
          },
        );
      },
    });
    return pool;
  }

  /** Makes connections retire at half of what is left of the shorter certificate. */
  #shorten(socket: unknown): void {
    const { source, runtime } = this.#options;
    const peerEndMs = connectionFacts(socket)?.peer?.notAfterMs ?? Number.POSITIVE_INFINITY;
    const ownEndMs = source.state.kind === 'ready' ? source.state.value.svid.notAfterMs : 0;
    const ttlMs = Math.max(1, Math.floor((Math.min(peerEndMs, ownEndMs) - runtime.wallMs()) / 2));
    if (ttlMs >= this.#ttlMs) return;
    // A little shorter each time would make a new pool for each connection.
    this.#ttlMs = Math.max(1, Math.floor(ttlMs * 0.8));
    const old = this.#pool;
    this.#pool = this.#createPool();
    old.close().catch(() => {});
  }
}
