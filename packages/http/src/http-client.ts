import type { Agent } from 'node:http';
import {
  type CallContext,
  FlatHeaders,
  type LiveStack,
  type Logger,
  MeshError,
  type Runtime,
} from '@inmesh/core';
import type { Dialer, IdentitySource } from '@inmesh/identity';
import {
  type ClusterState,
  type Clusters,
  type EndpointState,
  editHeaders,
  type Forward,
  outboundDeadlineMs,
  type Router,
} from '@inmesh/resilience';
import { Dispatcher, Agent as UndiciAgent } from 'undici';
import { ClientExchange } from './client-exchange.js';
import { ConnectionPool, type PoolOptions } from './connection-pool.js';
import { toLegacyHandler } from './legacy-handler.js';
import { MeshAgent } from './mesh-agent.js';
import { nameHost, OutboundRequest } from './outbound-request.js';
import { toFieldLines } from './outgoing-headers.js';

/** What {@link createHttpClient} needs. */
export interface HttpClientOptions {
  /** Says where calls go. */
  readonly router: Router;
  /** Live state of clusters, shared with other protocols. */
  readonly clusters: Clusters;
  /** Opens connections. */
  readonly dialer: Dialer;
  /** Who we are. */
  readonly source: IdentitySource;
  /** Layers of outbound calls. */
  readonly stack: LiveStack;
  /** Tells the inbound call that an outbound one is made in. */
  readonly context: CallContext;
  /** Connections to one endpoint. @defaultValue 64 */
  readonly connections?: number;
  /** Time. */
  readonly runtime: Runtime;
  /** Told about names that are none of the mesh's. */
  readonly logger: Logger;
}

/** What an HTTP client counts. */
export interface HttpClientStats {
  /** Calls, and connections of {@link HttpClient.agent}, to names that are none of the mesh's. */
  readonly passedThrough: number;
}

/** Calls services of the mesh by name. */
export interface HttpClient {
  /** For undici, any version, and for the built-in fetch. */
  readonly dispatcher: Dispatcher;
  /** The built-in fetch through {@link HttpClient.dispatcher}. */
  readonly fetch: typeof globalThis.fetch;
  /** For node:http, node:https and what is built on them. One agent takes both schemes. */
  agent(): Agent;
  /** Counts. */
  readonly stats: HttpClientStats;
  /** Refuses further calls and waits for those under way. */
  close(): Promise<void>;
}

function hostOf(origin: unknown): string {
  if (typeof origin === 'object' && origin !== null) return (origin as { host?: string }).host ?? '';
  const text = typeof origin === 'string' ? origin : '';
  const start = text.indexOf('://');
  const rest = start === -1 ? text : text.slice(start + 3);
  const end = rest.indexOf('/');
  return end === -1 ? rest : rest.slice(0, end);
}

/** The pools of one cluster under one identity. */
interface ClusterPools {
  readonly uri: string;
  readonly trustEpoch: number;
  readonly pools: Map<EndpointState, ConnectionPool>;
  readonly stopWatching: () => void;
}

/** Connections of every cluster, by endpoint and identity. */
class Pools {
  readonly #options: PoolOptions;
  readonly #clusters = new Map<ClusterState, ClusterPools>();
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
      if (entry !== undefined) this.#retire(entry);
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

  async close(): Promise<void> {
    await Promise.all(this.#takeAll().map((pool) => pool.close()));
  }

  async destroy(error: Error): Promise<void> {
    await Promise.all(this.#takeAll().map((pool) => pool.destroy(error)));
  }

  #watch(cluster: ClusterState, uri: string, trustEpoch: number): ClusterPools {
    const pools = new Map<EndpointState, ConnectionPool>();
    const stopWatching = cluster.onChange(() => {
      for (const [endpoint, pool] of pools) {
        if (!endpoint.isGone) continue;
        pools.delete(endpoint);
        pool.close().catch(() => {});
      }
    });
    return { uri, trustEpoch, pools, stopWatching };
  }

  #retire({ pools, stopWatching }: ClusterPools): void {
    stopWatching();
    for (const pool of pools.values()) pool.close().catch(() => {});
  }

  #takeAll(): readonly ConnectionPool[] {
    this.#isClosed = true;
    const all = [...this.#clusters.values()];
    this.#clusters.clear();
    for (const { stopWatching } of all) stopWatching();
    return all.flatMap(({ pools }) => [...pools.values()]);
  }
}

class MeshDispatcher extends Dispatcher {
  passedThrough = 0;
  readonly #options: HttpClientOptions;
  readonly #pools: Pools;
  #others: UndiciAgent | undefined;
  #isClosed = false;

  constructor(options: HttpClientOptions) {
    super();
    this.#options = options;
    this.#pools = new Pools({ ...options, connections: options.connections ?? 64 });
  }

  override dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const host = hostOf(request.origin);
    const name = this.#options.router.nameOf(host);
    if (name === undefined) {
      this.passedThrough++;
      this.#others ??= new UndiciAgent();
      return this.#others.dispatch(request, toLegacyHandler(handler) as Dispatcher.DispatchHandler);
    }
    this.#start(request, handler, name, host);
    return true;
  }

  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(callback?: () => void): Promise<void> | void {
    this.#isClosed = true;
    const done = Promise.all([this.#others?.close(), this.#pools.close()]).then(() => {});
    if (callback === undefined) return done;
    void done.then(callback);
  }

  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(first?: Error | null | (() => void), second?: () => void): Promise<void> | void {
    this.#isClosed = true;
    const error =
      first instanceof Error ? first : new MeshError('INMESH_ERR_CLOSED', 'the client was destroyed');
    const done = Promise.all([this.#others?.destroy(error), this.#pools.destroy(error)]).then(() => {});
    const callback = typeof first === 'function' ? first : second;
    if (callback === undefined) return done;
    void done.then(callback);
  }

  #start(
    given: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
    name: string,
    host: string,
  ): void {
    const caller = toLegacyHandler(handler);
    try {
      this.#exchange(given, caller, name, host).begin();
    } catch (error) {
      // undici tells the handler, never the line that called dispatch.
      caller.onError?.(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** @throws MeshError where the call cannot even begin. */
  #exchange(
    given: Dispatcher.DispatchOptions,
    caller: ReturnType<typeof toLegacyHandler>,
    name: string,
    host: string,
  ): ClientExchange {
    if (this.#isClosed) throw new MeshError('INMESH_ERR_CLOSED', 'the client is closed');
    const { router, stack, context, runtime } = this.#options;
    const request = new OutboundRequest(given, new FlatHeaders(toFieldLines(given.headers)), host);
    const routed = router.route(name, request);
    const forward = routed.kind === 'forward' ? routed.forward : undefined;
    const cluster = routed.kind === 'forward' ? routed.cluster : undefined;
    prepare(request, forward, host);
    const parent = context.current();
    const timeoutMs = forward?.policy.rules.timeoutMs ?? 0;
    const isBound = timeoutMs > 0 || parent !== undefined;
    const target = cluster?.name ?? name;
    return new ClientExchange(request, caller, {
      forward,
      cluster,
      answer: routed.kind === 'answer' ? routed.reply : undefined,
      name: target,
      plan: stack.plan({ side: 'client', cluster: target }),
      parent,
      deadlineMs: isBound ? outboundDeadlineMs(parent, timeoutMs, runtime.now()) : Number.POSITIVE_INFINITY,
      pool: (endpoint) => this.#poolOf(cluster, endpoint),
      runtime,
    });
  }

  #poolOf(cluster: ClusterState | undefined, endpoint: EndpointState): ConnectionPool {
    if (cluster === undefined) throw new Error('invariant: an attempt without a cluster');
    return this.#pools.of(cluster, endpoint);
  }
}

/** What a route changes of a request, before any layer sees it. */
function prepare(request: OutboundRequest, forward: Forward | undefined, host: string): void {
  const { headers } = request;
  if (forward !== undefined) {
    if (forward.request.length > 0) editHeaders(headers, forward.request);
    request.keepBody(forward.policy.rules.retry.maxBodyBytes);
  }
  if (forward?.authority !== undefined) headers.set('host', forward.authority);
  else nameHost(headers, host);
}

/** Makes a client of the mesh over undici. Names that are no cluster pass through and are counted. */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const dispatcher = new MeshDispatcher(options);
  const agents: MeshAgent[] = [];
  return {
    dispatcher,
    // The types of the built-in fetch know the undici they were made for, and take any at run time.
    fetch: (input, init) => globalThis.fetch(input, { ...init, dispatcher } as unknown as RequestInit),
    agent() {
      const agent = new MeshAgent({
        ...options,
        connections: options.connections ?? 64,
        onPassThrough: () => dispatcher.passedThrough++,
      });
      agents.push(agent);
      return agent;
    },
    get stats() {
      return { passedThrough: dispatcher.passedThrough };
    },
    async close() {
      await Promise.all([dispatcher.close(), ...agents.map((agent) => agent.close())]);
    },
  };
}
