import { MeshError, type SpiffeId } from '@inmesh/core';
import type { Accepts, ClusterState, EndpointState } from '@inmesh/resilience';
import { Attempt } from './attempt.js';
import type { ClientState, EndpointEntry } from './client-registry.js';
import type { ClientRpc } from './client-rpc.js';
import { EndpointSlot, type EndpointSlotParts } from './endpoint-slot.js';

/** What came of a pick: an attempt, a reason why there is none, or `wait`. */
export type Picked = Attempt | MeshError | 'wait';

function isSame(a: readonly SpiffeId[], b: readonly SpiffeId[]): boolean {
  return a === b || (a.length === b.length && a.every((id, i) => id.uri === b[i]?.uri));
}

/** What a {@link ClusterPool} is made of. */
export interface ClusterPoolParts {
  /** Of the mesh. */
  readonly client: ClientState;
  /** The cluster. */
  readonly cluster: ClusterState;
  /** Makes connections. */
  readonly connect: (entry: EndpointEntry) => ReturnType<EndpointSlotParts['connect']>;
  /** Told when a pick may come out otherwise. */
  readonly onChange: () => void;
}

/** The connections of one channel to the endpoints of one cluster. */
export class ClusterPool {
  readonly #parts: ClusterPoolParts;
  readonly #slots = new Map<EndpointState, EndpointSlot>();
  readonly #unsubscribe: () => void;
  /** Whether every endpoint has a connection: then picks need not look. */
  #isWhole = false;
  readonly #isReady: Accepts = (endpoint) => this.#slots.get(endpoint)?.isReady === true;
  readonly #isComing: Accepts = (endpoint) => this.#slots.get(endpoint)?.isConnecting === true;

  /** @param parts - What it is made of. */
  constructor(parts: ClusterPoolParts) {
    this.#parts = parts;
    this.#unsubscribe = parts.cluster.onChange(() => {
      this.sync();
      parts.onChange();
    });
    this.sync();
  }

  /** Whether calls can be sent now. */
  get isReady(): boolean {
    for (const slot of this.#slots.values()) if (slot.isReady) return true;
    return false;
  }

  /** Whether it is worth waiting for a connection. */
  get isConnecting(): boolean {
    const { endpoints } = this.#parts.cluster.cluster;
    if (this.#slots.size === 0)
      return endpoints.state.kind === 'pending' && endpoints.state.error === undefined;
    for (const slot of this.#slots.values()) if (slot.isConnecting) return true;
    return false;
  }

  /** Follows the endpoints and identities that are configured. What is the same stays connected. */
  sync(): void {
    const { client, cluster, connect } = this.#parts;
    const { identities } = cluster.cluster;
    const endpoints = new Set(cluster.endpoints);
    for (const [endpoint, slot] of this.#slots) {
      if (endpoints.has(endpoint) && isSame(slot.identities, identities)) continue;
      slot.destroy();
      this.#slots.delete(endpoint);
    }
    for (const endpoint of endpoints) {
      if (this.#slots.has(endpoint)) continue;
      const onChange = (): void => this.#onSlotChange();
      this.#slots.set(endpoint, new EndpointSlot({ client, cluster, endpoint, connect, onChange }));
    }
    this.#lookWhole();
  }

  /** Picks an endpoint that is connected, one that the RPC has not tried if there is one. */
  pick(rpc: ClientRpc): Picked {
    const { runtime } = this.#parts.client;
    const endpoint = this.#endpoint(rpc, runtime.now());
    const slot = endpoint === undefined ? undefined : this.#slots.get(endpoint);
    if (endpoint !== undefined && slot?.isReady === true) {
      const attempt = new Attempt(rpc, endpoint, slot.current, slot, runtime);
      rpc.onPicked(attempt);
      return attempt;
    }
    if (rpc.waitsForReady || (this.isConnecting && !this.isReady) || this.#isUsableComing())
      return rpc.wait() ?? 'wait';
    return this.#failure();
  }

  /** Lets go of every connection; calls on them go on. */
  destroy(): void {
    this.#unsubscribe();
    for (const slot of this.#slots.values()) slot.destroy();
    this.#slots.clear();
  }

  #endpoint({ tried, forward }: ClientRpc, nowMs: number): EndpointState | undefined {
    const { cluster } = this.#parts;
    const { repicks } = forward.policy.rules.retry;
    const accepts = this.#isWhole ? undefined : this.#isReady;
    // Where every endpoint was tried, a tried one is better than none; where none can be connected to, one that is passed
    // over otherwise, or is ejected.
    return (
      (tried && cluster.pickUntried(nowMs, tried, repicks, accepts)) ??
      cluster.pick(nowMs, accepts) ??
      (this.#isUsableComing()
        ? undefined
        : (cluster.pickSpare(nowMs, this.#isReady) ?? cluster.rescue(nowMs, this.#isReady)))
    );
  }

  /** Whether an endpoint that picks choose from is worth waiting for. */
  #isUsableComing(): boolean {
    return this.#parts.cluster.hasUsable(this.#isComing);
  }

  #failure(): MeshError {
    const { cluster } = this.#parts;
    if (!this.isReady)
      for (const { failure } of this.#slots.values()) if (failure !== undefined) return failure;
    return new MeshError(
      'INMESH_ERR_NO_ENDPOINT',
      this.#slots.size === 0
        ? `${cluster.name} has no endpoint`
        : `${cluster.name} has no endpoint that can be used`,
      { stackless: true },
    );
  }

  #onSlotChange(): void {
    this.#lookWhole();
    this.#parts.onChange();
  }

  #lookWhole(): void {
    this.#isWhole = true;
    for (const slot of this.#slots.values()) if (!slot.isReady) this.#isWhole = false;
  }
}
