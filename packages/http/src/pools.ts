import { MeshError } from '@inmesh/core';
import type { ClusterState, EndpointState } from '@inmesh/resilience';
import { ConnectionPool, type PoolOptions } from './connection-pool.js';

/** The pools of one cluster under one identity. */
interface ClusterPools {
  readonly uri: string;
  readonly trustEpoch: number;
  readonly pools: Map<EndpointState, ConnectionPool>;
  readonly stopWatching: () => void;
}

/** Connections of every cluster, by endpoint and identity. */
export class Pools {
  readonly #options: PoolOptions;
  readonly #clusters = new Map<ClusterState, ClusterPools>();
  /** Pools that end when their requests have; cut with the rest if need be. */
  readonly #retiring = new Set<ConnectionPool>();
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** @throws MeshError `INMESH_ERR_CLOSED`, `INMESH_ERR_IDENTITY_GONE` */
  of(cluster: ClusterState, endpoint: EndpointState): ConnectionPool {
    if (this.#isClosed) throw new MeshError('INMESH_ERR_CLOSED', 'the client is closed');
    const { svid, trustEpoch } = this.#options.source.current();
    const { uri } = svid.id;
    let entry = this.#clusters.get(cluster);
    if (entry === undefined || entry.uri !== uri || entry.trustEpoch !== trustEpoch) {
      // Under another identity or with a root removed, old connections serve no new call.
      if (entry !== undefined) this.#retireAll(entry);
      entry = this.#watch(cluster, uri, trustEpoch);
      this.#clusters.set(cluster, entry);
    }
    let pool = entry.pools.get(endpoint);
    if (pool === undefined) {
      pool = new ConnectionPool(this.#options, cluster, endpoint);
      entry.pools.set(endpoint, pool);
    }
    return pool;
  }

  /** Refuses further calls; ends when the requests under way have. */
  async close(): Promise<void> {
    await Promise.all(this.#retireEverything().map((pool) => pool.close()));
  }

  /** Cuts everything, also what is being closed. */
  async destroy(error: Error): Promise<void> {
    await Promise.all(this.#retireEverything().map((pool) => pool.destroy(error)));
  }

  #watch(cluster: ClusterState, uri: string, trustEpoch: number): ClusterPools {
    const pools = new Map<EndpointState, ConnectionPool>();
    const stopWatching = cluster.onChange(() => {
      for (const [endpoint, pool] of pools) {
        if (!endpoint.isGone) continue;
        pools.delete(endpoint);
        this.#retire(pool);
      }
    });
    return { uri, trustEpoch, pools, stopWatching };
  }

  #retire(pool: ConnectionPool): void {
    this.#retiring.add(pool);
    void pool.close().then(() => this.#retiring.delete(pool));
  }

  #retireAll({ pools, stopWatching }: ClusterPools): void {
    stopWatching();
    for (const pool of pools.values()) this.#retire(pool);
  }

  #retireEverything(): readonly ConnectionPool[] {
    this.#isClosed = true;
    for (const entry of this.#clusters.values()) this.#retireAll(entry);
    this.#clusters.clear();
    return [...this.#retiring];
  }
}
