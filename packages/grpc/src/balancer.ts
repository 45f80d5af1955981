import {
  type ChannelOptions,
  experimental,
  Metadata,
  connectivityState as State,
  status,
} from '@grpc/grpc-js';
import { type Cluster, createTimer, findCluster, type Runtime } from '@inmesh/core';
import { type ClientState, type EndpointEntry, endpointOption, nextId, stateOf } from './client-registry.js';
import { balancerName } from './resolver.js';

const { PickResultType, QueuePicker, UnavailablePicker } = experimental;
type Subchannel = experimental.SubchannelInterface;

class BalancerConfig implements experimental.TypedLoadBalancingConfig {
  readonly cluster: string;

  constructor(cluster: string) {
    this.cluster = cluster;
  }

  getLoadBalancerName(): string {
    return balancerName;
  }

  toJsonObject(): object {
    return { [balancerName]: { cluster: this.cluster } };
  }

  static createFromJson(json: { readonly cluster?: unknown }): BalancerConfig {
    return new BalancerConfig(typeof json.cluster === 'string' ? json.cluster : '');
  }
}

/** Retire connections when this part of their certificates' remaining life has passed. */
const retireAt = 0.5;
const longestTimerMs = 86_400_000;

/** One endpoint: the connection in use, and its successor while that one is made. */
class EndpointSlot implements EndpointEntry {
  readonly id = nextId();
  readonly cluster: Cluster;
  readonly endpoint: EndpointEntry['endpoint'];
  isVerified = false;
  current: Subchannel;
  error = '';
  readonly #runtime: Runtime;
  readonly #create: () => Subchannel;
  readonly #onChange: () => void;
  readonly #timer = createTimer(() => this.#replace());
  readonly #listener: experimental.ConnectivityStateListener;
  #next: Subchannel | undefined;

  constructor(
    state: ClientState,
    cluster: Cluster,
    endpoint: EndpointEntry['endpoint'],
    create: (entry: EndpointEntry) => Subchannel,
    onChange: () => void,
  ) {
    this.cluster = cluster;
    this.endpoint = endpoint;
    this.#runtime = state.runtime;
    this.#onChange = onChange;
    this.#create = () => create(this);
    this.#listener = (subchannel, _before, now, _keepalive, message) =>
      this.#onState(subchannel, now, message);
    state.entries.set(this.id, this);
    this.current = this.#start();
  }

  get state(): State {
    return this.current.getConnectivityState();
  }

  onConnected(remainingMs: number): void {
    this.#runtime.arm(this.#timer, Math.min(Math.max(remainingMs * retireAt, 100), longestTimerMs));
  }

  destroy(): void {
    this.#runtime.disarm(this.#timer);
    this.#drop(this.current);
    if (this.#next !== undefined) this.#drop(this.#next);
  }

  #start(): Subchannel {
    const subchannel = this.#create();
    subchannel.ref();
    subchannel.addConnectivityStateListener(this.#listener);
    subchannel.startConnecting();
    return subchannel;
  }

  /** A new connection takes over before the old one's certificate ends; calls on the old one go on. */
  #replace(): void {
    this.#next ??= this.#start();
  }

  #onState(subchannel: Subchannel, now: State, message: string | undefined): void {
    if (message !== undefined && message !== '') this.error = message;
    if (now === State.IDLE) subchannel.startConnecting();
    // Not compared with the argument: listeners are handed what is inside the object that was made.
    const next = this.#next;
    if (next?.getConnectivityState() === State.READY) {
      const old = this.current;
      this.current = next;
      this.#next = undefined;
      this.#drop(old);
    }
    this.#onChange();
  }

  #drop(subchannel: Subchannel): void {
    subchannel.removeConnectivityStateListener(this.#listener);
    subchannel.unref();
  }
}

/** Round robin over the endpoints of a cluster that are connected and proved who they are. */
class MeshBalancer implements experimental.LoadBalancer {
  readonly #helper: experimental.ChannelControlHelper;
  #slots: EndpointSlot[] = [];
  #state: ClientState | undefined;
  #generation = 0;
  #next = 0;

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
      const details = endpoints.ok
        ? 'INMESH_ERR_GRPC_CHANNEL: the mesh of this channel is closed'
        : endpoints.error.details;
      if (this.#slots.length === 0) this.#unavailable(details);
      return false;
    }
    const cluster = findCluster(state.snapshot(), config.cluster);
    if (cluster === undefined || cluster.endpoints.length === 0) {
      this.#replaceSlots([]);
      this.#unavailable(`INMESH_ERR_NO_ENDPOINT: ${config.cluster} has no endpoint`);
      return true;
    }
    this.#state = state;
    // What is the same stays connected.
    const kept = cluster.endpoints.map((endpoint) =>
      this.#slots.find((slot) => slot.cluster === cluster && slot.endpoint === endpoint),
    );
    const slots = cluster.endpoints.map(
      (endpoint, i) =>
        kept[i] ??
        new EndpointSlot(
          state,
          cluster,
          endpoint,
          (entry) => this.#subchannel(entry, options),
          () => this.#report(),
        ),
    );
    this.#replaceSlots(slots);
    this.#report();
    return true;
  }

  exitIdle(): void {
    for (const slot of this.#slots) slot.current.startConnecting();
  }

  resetBackoff(): void {
    this.exitIdle();
  }

  destroy(): void {
    this.#replaceSlots([]);
  }

  getTypeName(): string {
    return balancerName;
  }

  #subchannel(entry: EndpointEntry, options: ChannelOptions): Subchannel {
    this.#generation++;
    const { host, port } = entry.endpoint;
    // Options that differ make a connection of its own; equal ones would share the one that is to retire.
    return this.#helper.createSubchannel(
      { host, port },
      { ...options, [endpointOption]: entry.id, 'inmesh.generation': this.#generation },
    );
  }

  #replaceSlots(slots: EndpointSlot[]): void {
    for (const slot of this.#slots) {
      if (slots.includes(slot)) continue;
      slot.destroy();
      this.#state?.entries.delete(slot.id);
    }
    this.#slots = slots;
  }

  #report(): void {
    const ready = this.#slots.filter((slot) => slot.state === State.READY);
    const verified = ready.filter((slot) => slot.isVerified);
    if (verified.length > 0) {
      this.#helper.updateState(State.READY, { pick: () => this.#pick(verified) }, null);
    } else if (ready.length > 0) {
      this.#unavailable(
        'INMESH_ERR_GRPC_CHANNEL: a mesh:/// channel needs mesh.grpc.credentials() of its own mesh',
      );
    } else if (this.#slots.some((slot) => slot.state === State.CONNECTING || slot.state === State.IDLE)) {
      this.#helper.updateState(State.CONNECTING, new QueuePicker(this), null);
    } else
      this.#unavailable(this.#slots.find((slot) => slot.error !== '')?.error ?? 'no endpoint is reachable');
  }

  #pick(slots: readonly EndpointSlot[]): experimental.PickResult {
    const slot = slots[this.#next++ % slots.length];
    return {
      pickResultType: PickResultType.COMPLETE,
      subchannel: slot?.current ?? null,
      status: null,
      onCallStarted: null,
      onCallEnded: null,
    };
  }

  #unavailable(details: string): void {
    this.#helper.updateState(
      State.TRANSIENT_FAILURE,
      new UnavailablePicker({ code: status.UNAVAILABLE, details, metadata: new Metadata() }),
      details,
    );
  }
}

/** Makes our balancer known to grpc-js; once per process. */
export function registerMeshBalancer(): void {
  experimental.registerLoadBalancerType(balancerName, MeshBalancer, BalancerConfig);
}
