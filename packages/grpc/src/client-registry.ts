import type {
  ConnectionFacts,
  Endpoint,
  Introductions,
  LiveStack,
  MeshError,
  Runtime,
  Snapshot,
  SpiffeId,
  Tracing,
} from '@inmesh/core';
import type { CountingSocket, Dialer, IdentitySource } from '@inmesh/identity';
import type { Clusters, Router } from '@inmesh/resilience';
import type { LiveRpcs } from './live-rpcs.js';

/** One endpoint of one channel: what its subchannels connect to, and whom they must find there. */
export interface EndpointEntry {
  /** Number by which a subchannel's options name it. */
  readonly id: number;
  /** Cluster it belongs to, for errors. */
  readonly cluster: string;
  /** Where it is. */
  readonly endpoint: Endpoint;
  /** Whom we must find there. */
  readonly identities: readonly SpiffeId[];
  /** A connection was verified by us, what is known of it, and how long its certificates last, in milliseconds. */
  onConnected(facts: ConnectionFacts | undefined, remainingMs: number, socket: CountingSocket): void;
  /** A connection failed, and why; grpc-js only keeps a text of it. */
  onFailed(error: MeshError): void;
}

/** What the resolver, the balancer and the credentials of one mesh share. */
export interface ClientState {
  /** Number by which channel options name it. */
  readonly id: number;
  /** Configuration now. */
  readonly snapshot: () => Snapshot;
  /** Calls `listener` when the configuration changes; returns how to stop. */
  readonly onSnapshot: (listener: () => void) => () => void;
  /** Says where calls go. */
  readonly router: Router;
  /** Live state of clusters, shared with HTTP. */
  readonly clusters: Clusters;
  /** Layers of outbound calls. */
  readonly stack: LiveStack;
  /** RPCs in flight. */
  readonly live: LiveRpcs;
  /** Opens connections. */
  readonly dialer: Dialer;
  /** Longest that calls are kept waiting for a connection, in milliseconds. */
  readonly connectTimeoutMs?: number;
  /** Who we are. */
  readonly source: IdentitySource;
  /** Introduces us to peers, if anybody does. */
  readonly introductions?: Introductions | undefined;
  /** Sees RPCs, if somebody traces. */
  readonly tracing?: Tracing;
  /** Whether somebody wants to know what comes of each attempt. */
  readonly keepsAttempts?: () => boolean;
  /** Time. */
  readonly runtime: Runtime;
  /** Endpoints by number. */
  readonly entries: Map<number, EndpointEntry>;
  /** Told when the mesh closes. */
  readonly onClose: Set<() => void>;
  /** Whether the mesh is closed: nothing new begins. */
  isClosed: boolean;
}

/** Channel option that names the mesh; several may live in one process. */
export const meshOption = 'inmesh.mesh';
/** Channel option with the paths of idempotent methods. */
export const idempotentOption = 'inmesh.idempotent';
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
