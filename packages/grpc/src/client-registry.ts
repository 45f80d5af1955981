import type { Cluster, Endpoint, Runtime, Snapshot } from '@inmesh/core';
import type { Dialer, IdentitySource } from '@inmesh/identity';

/** One endpoint of one channel: what its subchannels connect to, and whom they must find there. */
export interface EndpointEntry {
  /** Number by which a subchannel's options name it. */
  readonly id: number;
  /** Cluster it belongs to. */
  readonly cluster: Cluster;
  /** Where it is. */
  readonly endpoint: Endpoint;
  /** Whether a connection of it was verified by us; a channel with other credentials never is. */
  isVerified: boolean;
  /** Told how long the certificates of a new connection last, in milliseconds. */
  onConnected(remainingMs: number): void;
}

/** What the resolver, the balancer and the credentials of one mesh share. */
export interface ClientState {
  /** Number by which channel options name it. */
  readonly id: number;
  /** Clusters now. */
  readonly snapshot: () => Snapshot;
  /** Calls `listener` when clusters change; returns how to stop. */
  readonly onSnapshot: (listener: () => void) => () => void;
  /** Opens connections. */
  readonly dialer: Dialer;
  /** Who we are. */
  readonly source: IdentitySource;
  /** Wall clock and timers. */
  readonly runtime: Runtime;
  /** Endpoints by number. */
  readonly entries: Map<number, EndpointEntry>;
}

/** Channel option that names the mesh; several may live in one process. */
export const meshOption = 'inmesh.mesh';
/** Subchannel option that names the endpoint. */
export const endpointOption = 'inmesh.endpoint';

const states = new Map<number, ClientState>();
let lastId = 0;

/** A new number, unique in this process. */
export function nextId(): number {
  lastId++;
  return lastId;
}

/** Makes a mesh known to the resolver, which grpc-js creates by itself. */
export function registerState(state: ClientState): () => void {
  states.set(state.id, state);
  return () => states.delete(state.id);
}

/** The mesh that channel options name. */
export function stateOf(options: Readonly<Record<string, unknown>>): ClientState | undefined {
  const id = options[meshOption];
  return typeof id === 'number' ? states.get(id) : undefined;
}
