import type { Agent } from 'node:http';
import {
  type CallContext,
  CallState,
  type Cluster,
  type ConnectionFacts,
  FlatHeaders,
  findCluster,
  type LiveStack,
  type Logger,
  MeshError,
  type Runtime,
  type Snapshot,
} from '@inmesh/core';
import type { Dialer, IdentitySource } from '@inmesh/identity';
import { Dispatcher, Pool, Agent as UndiciAgent } from 'undici';
import { ClientExchange } from './client-exchange.js';
import { EndpointPool, type PoolOptions } from './endpoint-pool.js';
import { toLegacyHandler } from './legacy-handler.js';
import { MeshAgent } from './mesh-agent.js';
import { toFieldLines } from './outgoing-headers.js';

/** What {@link createHttpClient} needs. */
export interface HttpClientOptions {
  /** Clusters now. */
  readonly snapshot: () => Snapshot;
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

/** Nothing is known about a connection before one is picked. */
const noConnection: ConnectionFacts = Object.freeze({
  peer: undefined,
  isEncrypted: false,
  remoteIp: '',
  remotePort: 0,
  localIp: '',
  localPort: 0,
  sni: '',
});

function hostOf(origin: unknown): string {
  if (typeof origin === 'object' && origin !== null) return (origin as { host?: string }).host ?? '';
  const text = typeof origin === 'string' ? origin : '';
  const start = text.indexOf('://');
  const rest = start === -1 ? text : text.slice(start + 3);
  const end = rest.indexOf('/');
  return end === -1 ? rest : rest.slice(0, end);
}

function pathOf(target: string): string {
  const end = target.search(/[?#]/);
  return end === -1 ? target : target.slice(0, end);
}

/** The pools of one cluster under one identity. */
interface ClusterPools {
  readonly identity: string;
  readonly pools: readonly EndpointPool[];
  next: number;
}

class MeshDispatcher extends Dispatcher {
  passedThrough = 0;
  readonly #options: HttpClientOptions;
  readonly #poolOptions: PoolOptions;
  readonly #clusters = new Map<Cluster, ClusterPools>();
  readonly #others = new UndiciAgent();
  #isClosed = false;

  constructor(options: HttpClientOptions) {
    super();
    this.#options = options;
    this.#poolOptions = { ...options, connections: options.connections ?? 64 };
  }

  override dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const host = hostOf(request.origin);
    const cluster = findCluster(this.#options.snapshot(), host);
    if (cluster === undefined) {
      this.passedThrough++;
      return this.#others.dispatch(request, toLegacyHandler(handler) as Dispatcher.DispatchHandler);
    }
    this.#start(request, handler, cluster, host);
    return true;
  }

  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(callback?: () => void): Promise<void> | void {
    this.#isClosed = true;
    const pools = [...this.#clusters.values()].flatMap((one) => one.pools);
    this.#clusters.clear();
    const done = Promise.all([this.#others.close(), ...pools.map((pool) => pool.close())]).then(() => {});
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
    const pools = [...this.#clusters.values()].flatMap((one) => one.pools);
    this.#clusters.clear();
    const done = Promise.all([this.#others.destroy(error), ...pools.map((pool) => pool.destroy(error))]).then(
      () => {},
    );
    const callback = typeof first === 'function' ? first : second;
    if (callback === undefined) return done;
    void done.then(callback);
  }

  #start(
    request: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
    cluster: Cluster,
    host: string,
  ): void {
    const { stack, context } = this.#options;
    const headers = new FlatHeaders(toFieldLines(request.headers));
    if (!headers.has('host')) headers.append('host', host);
    const call = new CallState({
      side: 'client',
      protocol: 'http1',
      facts: {
        method: request.method,
        path: pathOf(request.path),
        authority: host.toLowerCase(),
        connection: noConnection,
      },
      headers,
      cluster: cluster.name,
      parent: context.current(),
      onCancel: (reason) => exchange.cancel(reason),
    });
    const plan = stack.plan({ side: 'client', cluster: cluster.name });
    const send = (to: ClientExchange): EndpointPool => {
      const pool = this.#pick(cluster);
      pool.dispatch(
        { ...request, origin: `http://${cluster.name}`, headers: headers.raw },
        to as Dispatcher.DispatchHandler,
      );
      return pool;
    };
    const exchange: ClientExchange = new ClientExchange(plan, call, toLegacyHandler(handler), send);
    exchange.begin();
  }

  #pick(cluster: Cluster): EndpointPool {
    if (this.#isClosed) throw new MeshError('INMESH_ERR_CLOSED', 'the client is closed');
    const { svid, trustEpoch } = this.#options.source.current();
    const identity = `${svid.id.uri} ${trustEpoch}`;
    let pools = this.#clusters.get(cluster);
    if (pools === undefined || pools.identity !== identity) {
      // Under another identity or with a root removed, old connections serve no new call.
      for (const old of pools?.pools ?? []) old.close().catch(() => {});
      pools = {
        identity,
        next: 0,
        pools: cluster.endpoints.map(
          (endpoint) => new EndpointPool({ Pool }, this.#poolOptions, cluster, endpoint),
        ),
      };
      this.#clusters.set(cluster, pools);
    }
    const pool = pools.pools[pools.next++ % Math.max(1, pools.pools.length)];
    if (pool === undefined) throw new MeshError('INMESH_ERR_NO_ENDPOINT', `${cluster.name} has no endpoint`);
    return pool;
  }
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
      for (const agent of agents) agent.destroy();
      await dispatcher.close();
    },
  };
}
