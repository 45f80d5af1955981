import type { CallProperties, ChannelCredentials, ClientOptions } from '@grpc/grpc-js';
import {
  type Call,
  type CallContext,
  createTimer,
  type Introductions,
  type LiveStack,
  MeshError,
  type Runtime,
  type Snapshot,
  type Tracing,
} from '@inmesh/core';
import type { Dialer, IdentitySource } from '@inmesh/identity';
import type { Clusters, Router } from '@inmesh/resilience';
import { registerMeshBalancer } from './balancer.js';
import { CallMetadata } from './call-origin.js';
import { type ClientState, idempotentOption, meshOption, nextId, registerState } from './client-registry.js';
import { MeshCredentials } from './credentials.js';
import { type IdempotentMethods, idempotentPaths } from './idempotent-methods.js';
import { LiveRpcs } from './live-rpcs.js';
import { maxReconnectMs } from './reconnect-pause.js';
import { registerMeshResolver } from './resolver.js';
import { waitingChannel } from './waiting-channel.js';

/** What {@link createGrpcClient} needs. */
export interface GrpcClientOptions {
  /** Configuration now. */
  readonly snapshot: () => Snapshot;
  /** Calls `listener` when the configuration changes; returns how to stop. */
  readonly onSnapshot: (listener: () => void) => () => void;
  /** Says where calls go; the one that HTTP uses. */
  readonly router: Router;
  /** Live state of clusters; the one that HTTP uses, so that endpoints, ejections and budgets are shared. */
  readonly clusters: Clusters;
  /** Opens connections. */
  readonly dialer: Dialer;
  /**
   * Longest that calls are kept waiting for a connection, in milliseconds, TCP and TLS included. @defaultValue 10,000
   */
  readonly connectTimeoutMs?: number;
  /** Who we are. */
  readonly source: IdentitySource;
  /** Layers of outbound calls. */
  readonly stack: LiveStack;
  /** Tells the inbound call that an outbound one is made in. */
  readonly context: CallContext;
  /** Introduces us to peers. @defaultValue nobody is introduced */
  readonly introductions?: Introductions | undefined;
  /** Sees RPCs and their attempts. @defaultValue nobody does */
  readonly tracing?: Tracing;
  /** Whether somebody wants to know what comes of each attempt; asked once an RPC. @defaultValue nobody does */
  readonly keepsAttempts?: () => boolean;
  /** Time. */
  readonly runtime: Runtime;
}

/** What a channel adds to the rules of its routes. */
export interface GrpcChannelOptions {
  /**
   * Methods that may reach a handler twice, and so may be retried after a failure that leaves it open whether they
   * did. Paths such as `/pkg.Service/Method`, or service definitions with `idempotency_level`, as the
   * package proto-loader makes them. A route's own `idempotent` goes first. @defaultValue none
   */
  readonly idempotent?: IdempotentMethods;
}

/** What grpc-js keeps of an RPC for another attempt, in bytes, unless it is told otherwise. */
const keptBytes = 1_048_576;

/** The most that any rules in force want kept. */
function mostKept({ clusters, routes }: Snapshot): number {
  const rules = [
    ...[...clusters.values()].map(({ routeRules }) => routeRules),
    ...[...routes.values()].flat().map((route) => route.rules),
  ];
  return rules.reduce((most, { retry }) => Math.max(most, retry.maxBodyBytes), keptBytes);
}

/** How long {@link GrpcClient.close} waits. */
export interface GrpcCloseOptions {
  /** Bound on the wait for RPCs in flight, in milliseconds; then they are cut. @defaultValue 5000 */
  readonly timeoutMs?: number;
}

/** What a grpc-js client needs to call `mesh:///name`. */
export interface GrpcClient {
  /** mTLS to the identity of the name. */
  credentials(): ChannelCredentials;
  /**
   * Resolver, balancer and layers of this mesh. Options of your own go beside them, not over them.
   *
   * @throws MeshError `INMESH_ERR_CONFIG_INVALID` for an idempotent method that is no path.
   */
  channelOptions(options?: GrpcChannelOptions): ClientOptions;
  /** Calls `visit` with each RPC under way that layers see. */
  forEachCall(visit: (call: Call) => void): void;
  /**
   * New RPCs fail with `INMESH_ERR_CLOSED` at once; those in flight go on, within bounds, and connections close after
   * their last. Resolves when that is done.
   */
  close(options?: GrpcCloseOptions): Promise<void>;
}

let isRegistered = false;

/** grpc-js keeps resolvers and balancers by name for the whole process; ours find their mesh by channel option. */
function registerOnce(): void {
  if (isRegistered) return;
  isRegistered = true;
  registerMeshResolver();
  registerMeshBalancer();
}

/** Kept of a deadline for the way back, in milliseconds. */
const slackMs = 1;
const defaultCloseMs = 5000;

class Client implements GrpcClient {
  readonly #state: ClientState;
  readonly #context: CallContext;
  readonly #credentials: MeshCredentials;
  readonly #unregister: () => void;
  #closing: Promise<void> | undefined;

  constructor(options: GrpcClientOptions) {
    const { context, ...parts } = options;
    this.#context = context;
    this.#state = {
      id: nextId(),
      ...parts,
      live: new LiveRpcs(),
      entries: new Map(),
      onClose: new Set(),
      isClosed: false,
    };
    this.#unregister = registerState(this.#state);
    this.#credentials = new MeshCredentials(this.#state);
  }

  credentials(): ChannelCredentials {
    return this.#credentials;
  }

  channelOptions({ idempotent = [] }: GrpcChannelOptions = {}): ClientOptions {
    return {
      [meshOption]: this.#state.id,
      [idempotentOption]: idempotentPaths(idempotent),
      'grpc.use_local_subchannel_pool': 1,
      // A proxy of the environment would see plaintext targets it cannot resolve.
      'grpc.enable_http_proxy': 0,
      // Its own is two minutes.
      'grpc.max_reconnect_backoff_ms': maxReconnectMs,
      'grpc.per_rpc_retry_buffer_size': mostKept(this.#state.snapshot()),
      callInvocationTransformer: this.#noteOrigin,
    };
  }

  forEachCall(visit: (call: Call) => void): void {
    this.#state.live.forEach(visit);
  }

  close(options: GrpcCloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? defaultCloseMs);
    return this.#closing;
  }

  /** Runs in the context of the caller; resolver, selector and picker run in that of whichever call woke them. */
  readonly #noteOrigin = <Q, R>(properties: CallProperties<Q, R>): CallProperties<Q, R> => {
    const { methodDefinition, call: handle } = properties;
    if (properties.metadata.getOptions().waitForReady === true)
      properties.channel = waitingChannel(properties.channel);
    const parent = this.#context.current();
    const deadlineMs = this.#tighten(properties, parent?.deadlineMs ?? Number.POSITIVE_INFINITY);
    properties.metadata = new CallMetadata(properties.metadata, {
      parent,
      deadlineMs,
      sendsStream: methodDefinition.requestStream,
      receivesStream: methodDefinition.responseStream,
      trace: this.#state.tracing?.begin(),
      handle,
    });
    return properties;
  };

  /** Gives a call what its inbound call has left. @returns its deadline on the monotonic clock */
  #tighten<Q, R>(properties: CallProperties<Q, R>, inheritedMs: number): number {
    const { deadline: own } = properties.callOptions;
    if (own === undefined && inheritedMs === Number.POSITIVE_INFINITY) return inheritedMs;
    const { runtime } = this.#state;
    const offsetMs = runtime.wallMs() - runtime.now();
    const ownMs = own === undefined ? Number.POSITIVE_INFINITY : Number(own) - offsetMs;
    if (inheritedMs - slackMs >= ownMs) return ownMs;
    const deadline = inheritedMs - slackMs + offsetMs;
    properties.callOptions = { ...properties.callOptions, deadline };
    return inheritedMs - slackMs;
  }

  async #close(timeoutMs: number): Promise<void> {
    const { live, runtime, onClose } = this.#state;
    this.#state.isClosed = true;
    this.#unregister();
    const closed = new MeshError('INMESH_ERR_CLOSED', 'the mesh was closed before the call ended');
    const timer = createTimer(() => live.endAll(closed));
    if (timeoutMs > 0) runtime.arm(timer, timeoutMs);
    else live.endAll(closed);
    await live.whenIdle();
    runtime.disarm(timer);
    for (const close of onClose) close();
    onClose.clear();
  }
}

/** Makes the gRPC client side of a mesh. */
export function createGrpcClient(options: GrpcClientOptions): GrpcClient {
  registerOnce();
  return new Client(options);
}
