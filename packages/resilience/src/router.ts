import { type Cluster, findName, MeshError, type Runtime, type Snapshot } from '@inmesh/core';
import type { ClusterState } from './cluster-state.js';
import type { Clusters } from './clusters.js';
import { routePolicy } from './route-policy.js';
import { type Answer, type Forward, type RoutedRequest, RouteTable } from './route-table.js';

/** A call with a cluster to go to. */
export interface Forwarded {
  /** Tells the results apart. */
  readonly kind: 'forward';
  /** Live state of the cluster. */
  readonly cluster: ClusterState;
  /** What holds, and what changes. */
  readonly forward: Forward;
}

/** What {@link Router.route} says of a call. */
export type RouterResult = Answer | Forwarded;

/** Routes of one snapshot, compiled when a name is first called. */
class CompiledSnapshot {
  readonly snapshot: Snapshot;
  readonly #tables = new Map<string, RouteTable>();
  /** Names without routes, and where they lead: the same object for every call. */
  readonly plain = new Map<string, Forwarded>();

  constructor(snapshot: Snapshot) {
    this.snapshot = snapshot;
  }

  table(name: string): RouteTable | undefined {
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    const routes = this.snapshot.routes.get(name);
    if (routes === undefined) return undefined;
    const table = new RouteTable(routes);
    this.#tables.set(name, table);
    return table;
  }
}

/** Says where calls to the names of the mesh go, by the snapshot in force. */
export class Router {
  readonly #snapshot: () => Snapshot;
  readonly #clusters: Clusters;
  readonly #random: () => number;
  #compiled: CompiledSnapshot | undefined;

  /**
   * @param snapshot - The one in force.
   * @param clusters - Live state, shared by every protocol.
   */
  constructor(snapshot: () => Snapshot, clusters: Clusters, runtime: Runtime) {
    this.#snapshot = snapshot;
    this.#clusters = clusters;
    this.#random = runtime.random.bind(runtime);
  }

  /** The name that a host stands for; `undefined` passes through the mesh. */
  nameOf(host: string): string | undefined {
    return findName(this.#snapshot(), host);
  }

  /**
   * Routes a call to a name.
   *
   * @param name - From {@link nameOf}.
   * @throws MeshError `INMESH_ERR_NO_ROUTE` if the name has routes and none matches; `INMESH_ERR_NO_ENDPOINT` if its
   * cluster is not configured.
   */
  route(name: string, request: RoutedRequest): RouterResult {
    const compiled = this.#current();
    const known = compiled.plain.get(name);
    if (known !== undefined) return known;
    const table = compiled.table(name);
    if (table === undefined) return this.#plain(compiled, name);
    const routed = table.route(request, this.#random);
    if (routed === undefined)
      throw new MeshError(
        'INMESH_ERR_NO_ROUTE',
        `no route of ${name} matches ${request.method} ${request.target}`,
        {
          stackless: true,
          details: { name },
        },
      );
    if (routed.kind === 'answer') return routed;
    const cluster = this.#clusters.of(this.#clusterNamed(compiled, routed.cluster));
    return { kind: 'forward', cluster, forward: routed };
  }

  /**
   * The cluster of a name, whatever its routes say: for connections, which know no requests.
   *
   * @throws MeshError `INMESH_ERR_NO_ROUTE` if the name has routes only.
   */
  clusterOf(name: string): ClusterState {
    const cluster = this.#current().snapshot.clusters.get(name);
    if (cluster === undefined)
      throw new MeshError(
        'INMESH_ERR_NO_ROUTE',
        `${name} has routes and is no cluster itself; routes need requests`,
        {
          details: { name },
        },
      );
    return this.#clusters.of(cluster);
  }

  /** What a name without routes comes to. */
  #plain(compiled: CompiledSnapshot, name: string): Forwarded {
    const cluster = this.#clusterNamed(compiled, name);
    const forward: Forward = Object.freeze({
      kind: 'forward',
      cluster: name,
      policy: routePolicy(cluster.routeRules),
      target: undefined,
      authority: undefined,
      request: [],
      response: [],
    });
    const forwarded: Forwarded = Object.freeze({
      kind: 'forward',
      cluster: this.#clusters.of(cluster),
      forward,
    });
    compiled.plain.set(name, forwarded);
    return forwarded;
  }

  #clusterNamed({ snapshot }: CompiledSnapshot, name: string): Cluster {
    const cluster = snapshot.clusters.get(name);
    if (cluster === undefined)
      throw new MeshError('INMESH_ERR_NO_ENDPOINT', `the cluster ${name} is not configured`, {
        stackless: true,
        details: { cluster: name },
      });
    return cluster;
  }

  #current(): CompiledSnapshot {
    const snapshot = this.#snapshot();
    if (this.#compiled?.snapshot !== snapshot) {
      this.#compiled = new CompiledSnapshot(snapshot);
      // State of clusters that are gone must not stay; calls in flight hold what they need.
      this.#clusters.retain(new Set(snapshot.clusters.keys()));
    }
    return this.#compiled;
  }
}
