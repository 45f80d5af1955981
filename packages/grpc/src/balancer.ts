import {
  type ChannelOptions,
  experimental,
  connectivityState as State,
  status as Status,
  type StatusObject,
} from '@grpc/grpc-js';
import { createTimer, MeshError, type Snapshot } from '@inmesh/core';
import type { ClusterState } from '@inmesh/resilience';
import { statusOfError } from './call-status.js';
import { type ClientState, type EndpointEntry, endpointOption, stateOf } from './client-registry.js';
import { ClientRpc } from './client-rpc.js';
import { ClusterPool, type Picked } from './cluster-pool.js';
import { balancerName } from './resolver.js';
import { toPickResult } from './seams.js';

const { PickResultType, UnavailablePicker } = experimental;
type Subchannel = experimental.SubchannelInterface;

/** How often calls that wait are picked anew where nothing tells that it would help: an ejection ends by time alone. */
const repickMs = 1000;

class BalancerConfig implements experimental.TypedLoadBalancingConfig {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  getLoadBalancerName(): string {
    return balancerName;
  }

  toJsonObject(): object {
    return { [balancerName]: { name: this.name } };
  }

  static createFromJson(json: { readonly name?: unknown }): BalancerConfig {
    return new BalancerConfig(typeof json.name === 'string' ? json.name : '');
  }
}

/** Clusters that calls to a name may come to, by the routes in force. */
function clustersOf({ routes }: Snapshot, name: string): ReadonlySet<string> {
  const of = routes.get(name);
  if (of === undefined) return new Set([name]);
  return new Set(
    of.flatMap(({ action }) =>
      action.kind === 'forward'
        ? action.backends.filter(({ weight = 1 }) => weight > 0).map(({ cluster }) => cluster)
        : [],
    ),
  );
}

const nothing = { subchannel: null, status: null, onCallStarted: null, onCallEnded: null };
const queued: experimental.PickResult = { ...nothing, pickResultType: PickResultType.QUEUE };

function failed(pickResultType: experimental.PickResultType, status: StatusObject): experimental.PickResult {
  return { ...nothing, pickResultType, status };
}

/**
 * Connections of one channel to every cluster that its routes lead to; the balancing itself is the cluster's, shared
 * with HTTP. Routes are chosen per RPC, so the picker is always the same and asks the cluster that the RPC carries.
 */
class MeshBalancer implements experimental.LoadBalancer, experimental.Picker {
  readonly #helper: experimental.ChannelControlHelper;
  readonly #pools = new Map<ClusterState, ClusterPool>();
  readonly #repick = createTimer(() => this.#report());
  readonly #onClose = (): void => this.#prune(new Set());
  #state: ClientState | undefined;
  #options: ChannelOptions = {};
  #generation = 0;

  constructor(helper: experimental.ChannelControlHelper) {
    this.#helper = helper;
  }

  updateAddressList(
    endpoints: Parameters<experimental.LoadBalancer['updateAddressList']>[0],
    config: experimental.TypedLoadBalancingConfig,
    options: ChannelOptions,
  ): boolean {
    const state = stateOf(options);
    if (!endpoints.ok || state === undefined || !(config instanceof BalancerConfig)) {
      const closed = new MeshError('INMESH_ERR_CLOSED', 'the mesh of this channel is closed');
      if (this.#pools.size === 0) this.#unavailable(endpoints.ok ? statusOfError(closed) : endpoints.error);
      return false;
    }
    this.#state = state;
    this.#options = options;
    state.onClose.add(this.#onClose);
    const snapshot = state.snapshot();
    const used = new Set<ClusterState>();
    for (const name of clustersOf(snapshot, config.name)) {
      const cluster = snapshot.clusters.get(name);
      if (cluster !== undefined) used.add(state.clusters.of(cluster));
    }
    this.#prune(used);
    for (const cluster of used) this.#pool(cluster, state).sync();
    this.#report();
    return true;
  }

  exitIdle(): void {
    // Asked for with every call; connections are made and remade without being asked.
  }

  resetBackoff(): void {
    // The same.
  }

  destroy(): void {
    this.#prune(new Set());
    this.#state?.onClose.delete(this.#onClose);
    this.#state?.runtime.disarm(this.#repick);
  }

  getTypeName(): string {
    return balancerName;
  }

  pick({ metadata, extraPickInfo }: experimental.PickArgs): experimental.PickResult {
    const rpc: unknown = extraPickInfo;
    const state = this.#state;
    if (!(rpc instanceof ClientRpc) || state === undefined) return queued;
    const { refusal } = rpc;
    if (refusal !== undefined) return failed(PickResultType.DROP, statusOfError(refusal));
    if (!rpc.onPick(metadata)) return failed(PickResultType.DROP, outOfBudget(rpc));
    return this.#toResult(rpc, this.#pool(rpc.cluster, state).pick(rpc), state);
  }

  #toResult(rpc: ClientRpc, picked: Picked, { runtime }: ClientState): experimental.PickResult {
    if (picked === 'wait') {
      if (rpc.cluster.ejected > 0) runtime.arm(this.#repick, repickMs);
      return queued;
    }
    if (!(picked instanceof MeshError)) return toPickResult(picked);
    // Overflow is never sent again; where nothing is reachable, a try in a quarter of a second would not reach it.
    if (picked.code === 'INMESH_ERR_OVERFLOW')
      return failed(PickResultType.DROP, statusOfError(picked, Status.UNAVAILABLE));
    const status = rpc.forbidRetry(statusOfError(picked, Status.UNAVAILABLE));
    return failed(PickResultType.TRANSIENT_FAILURE, status);
  }

  /** Made on demand: a route may have come into force that this balancer has not been told of. */
  #pool(cluster: ClusterState, client: ClientState): ClusterPool {
    let pool = this.#pools.get(cluster);
    if (pool === undefined) {
      pool = new ClusterPool({
        client,
        cluster,
        connect: (entry) => this.#connect(entry),
        onChange: () => this.#report(),
      });
      this.#pools.set(cluster, pool);
    }
    return pool;
  }

  #connect(entry: EndpointEntry): Subchannel {
    this.#generation++;
    const { host, port } = entry.endpoint;
    // Options that differ make a connection of its own; equal ones would share the one that is to retire.
    return this.#helper.createSubchannel(
      { host, port },
      { ...this.#options, [endpointOption]: entry.id, 'inmesh.generation': this.#generation },
    );
  }

  #prune(used: ReadonlySet<ClusterState>): void {
    for (const [cluster, pool] of this.#pools) {
      if (used.has(cluster)) continue;
      pool.destroy();
      this.#pools.delete(cluster);
    }
  }

  /** Tells grpc-js that picks may come out otherwise; it picks anew for the calls that wait. */
  #report(): void {
    const pools = [...this.#pools.values()];
    const state = pools.some((pool) => pool.isReady)
      ? State.READY
      : pools.some((pool) => pool.isConnecting)
        ? State.CONNECTING
        : State.TRANSIENT_FAILURE;
    this.#helper.updateState(state, this, null);
  }

  #unavailable(status: StatusObject): void {
    this.#helper.updateState(State.TRANSIENT_FAILURE, new UnavailablePicker(status), status.details);
  }
}

/** A retry that the gate never saw, because its attempt failed before it had an endpoint. */
function outOfBudget({ cluster }: ClientRpc): StatusObject {
  return statusOfError(
    new MeshError('INMESH_ERR_OVERFLOW', `the retry budget of ${cluster.name} is spent`, { stackless: true }),
  );
}

/** Makes our balancer known to grpc-js; once per process. */
export function registerMeshBalancer(): void {
  experimental.registerLoadBalancerType(balancerName, MeshBalancer, BalancerConfig);
}
