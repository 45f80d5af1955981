import type { Agent } from 'node:http';
import type { Socket } from 'node:net';
import {
  type CallContext,
  createTimer,
  FlatHeaders,
  type Introductions,
  isMeshError,
  type LiveStack,
  type Logger,
  MeshError,
  type Runtime,
  type Tracing,
} from '@inmesh/core';
import type { Dialer, IdentitySource } from '@inmesh/identity';
import {
  type Clusters,
  editHeaders,
  type Forward,
  openAttemptLog,
  outboundDeadlineMs,
  type Router,
} from '@inmesh/resilience';
import { Dispatcher, Agent as UndiciAgent } from 'undici';
import { ClientExchange } from './client-exchange.js';
import { toLegacyHandler } from './legacy-handler.js';
import { MeshAgent } from './mesh-agent.js';
import { nameHost, OutboundRequest } from './outbound-request.js';
import { toFieldLines } from './outgoing-headers.js';
import { Pools } from './pools.js';

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
  /** Sees calls and their attempts. @defaultValue nobody does */
  readonly tracing?: Tracing;
  /** Whether somebody wants to know what comes of each attempt; asked once a call. @defaultValue nobody does */
  readonly keepsAttempts?: () => boolean;
  /** Introduces us to peers. @defaultValue nobody is introduced */
  readonly introductions?: Introductions | undefined;
  /** Told of each connection to a cluster that an agent opens: no layer sees what it carries. @defaultValue nobody */
  readonly onConnection?: (cluster: string, socket: Socket) => void;
  /** Time. */
  readonly runtime: Runtime;
  /** Told about names that are none of the mesh's. */
  readonly logger: Logger;
}

/**
 * What passes through to names that are none of the mesh's: requests of fetch and the dispatcher, connections of agents.
 * By the scheme: `tls` is that of `https:`, which proves nothing of the mesh's.
 */
export type BypassKind = 'plaintext-connection' | 'plaintext-request' | 'tls-connection' | 'tls-request';

/** What an HTTP client counts. */
export interface HttpClientStats {
  /** Calls, and connections of {@link HttpClient.agent}, to names that are none of the mesh's. */
  readonly passedThrough: number;
  /** The same, by what it was. */
  readonly bypasses: Readonly<Record<BypassKind, number>>;
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
  /**
   * Refuses further calls and waits for those under way.
   *
   * @param timeoutMs - Longest wait, in milliseconds; what is still under way then is cut. @defaultValue for ever
   */
  close(timeoutMs?: number): Promise<void>;
}

function hostOf(origin: unknown): string {
  if (typeof origin === 'object' && origin !== null) return (origin as { host?: string }).host ?? '';
  const text = typeof origin === 'string' ? origin : '';
  const start = text.indexOf('://');
  const rest = start === -1 ? text : text.slice(start + 3);
  const end = rest.indexOf('/');
  return end === -1 ? rest : rest.slice(0, end);
}

function isHttps(origin: unknown): boolean {
  const protocol = typeof origin === 'object' && origin !== null ? (origin as URL).protocol : origin;
  return typeof protocol === 'string' && /^https:/i.test(protocol);
}

class MeshDispatcher extends Dispatcher {
  readonly bypasses: Record<BypassKind, number> = {
    'plaintext-connection': 0,
    'plaintext-request': 0,
    'tls-connection': 0,
    'tls-request': 0,
  };
  readonly #options: HttpClientOptions;
  readonly #pools: Pools;
  #others: UndiciAgent | undefined;
  #isClosed = false;
  readonly #live = new Set<ClientExchange>();
  #onIdle: (() => void)[] = [];
  readonly #onEnd = (exchange: ClientExchange): void => {
    this.#live.delete(exchange);
    if (this.#live.size > 0) return;
    for (const wake of this.#onIdle.splice(0)) wake();
  };

  constructor(options: HttpClientOptions) {
    super();
    this.#options = options;
    this.#pools = new Pools({ ...options, connections: options.connections ?? 64 });
  }

  override dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const host = hostOf(request.origin);
    const name = this.#options.router.nameOf(host);
    if (name === undefined) {
      this.bypasses[isHttps(request.origin) ? 'tls-request' : 'plaintext-request']++;
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
    const done = Promise.all([this.#others?.close(), this.#closePools()]).then(() => {});
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
    const reason = isMeshError(error)
      ? error
      : new MeshError('INMESH_ERR_CLOSED', error.message, { cause: error });
    for (const exchange of this.#live) exchange.destroy(reason);
    const done = Promise.all([this.#others?.destroy(error), this.#pools.destroy(error)]).then(() => {});
    const callback = typeof first === 'function' ? first : second;
    if (callback === undefined) return done;
    void done.then(callback);
  }

  /** Calls that wait before an attempt, or for a connection, are under way too. */
  async #closePools(): Promise<void> {
    if (this.#live.size > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
    await this.#pools.close();
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
    const { router, stack, context, runtime, tracing, keepsAttempts } = this.#options;
    const request = new OutboundRequest(given, new FlatHeaders(toFieldLines(given.headers)), host);
    const routed = router.route(name, request);
    const forward = routed.kind === 'forward' ? routed.forward : undefined;
    const cluster = routed.kind === 'forward' ? routed.cluster : undefined;
    prepare(request, forward, host);
    const parent = context.current();
    const trace = tracing?.begin();
    tracing?.carry(request.headers, parent, trace);
    const nowMs = runtime.now();
    const timeoutMs = forward?.policy.rules.timeoutMs ?? 0;
    const isBound = timeoutMs > 0 || parent !== undefined;
    const target = cluster?.name ?? name;
    const exchange = new ClientExchange(request, caller, {
      forward,
      cluster,
      answer: routed.kind === 'answer' ? routed.reply : undefined,
      name: target,
      plan: stack.plan({ side: 'client', cluster: target }),
      parent,
      trace,
      attemptLog: openAttemptLog(keepsAttempts, runtime),
      startedMs: nowMs,
      deadlineMs: isBound ? outboundDeadlineMs(parent, timeoutMs, nowMs) : Number.POSITIVE_INFINITY,
      onEnd: this.#onEnd,
      pools: this.#pools,
      runtime,
    });
    this.#live.add(exchange);
    return exchange;
  }
}

/** What a route changes of a request, before any layer sees it. */
function prepare(request: OutboundRequest, forward: Forward | undefined, host: string): void {
  const { headers } = request;
  if (forward !== undefined && forward.request.length > 0) editHeaders(headers, forward.request);
  // Also where a route answers: whoever gave the body is told that nobody reads it.
  request.keepBody(forward?.policy.rules.retry.maxBodyBytes ?? 0);
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
        onConnection: options.onConnection ?? (() => {}),
        onPassThrough: (isTls) => dispatcher.bypasses[isTls ? 'tls-connection' : 'plaintext-connection']++,
      });
      agents.push(agent);
      return agent;
    },
    get stats() {
      const bypasses = { ...dispatcher.bypasses };
      return { bypasses, passedThrough: Object.values(bypasses).reduce((sum, count) => sum + count) };
    },
    async close(timeoutMs) {
      const done = Promise.all([dispatcher.close(), ...agents.map((agent) => agent.close())]);
      if (timeoutMs === undefined) {
        await done;
        return;
      }
      const timer = createTimer(() => {
        for (const agent of agents) agent.destroy();
        (dispatcher.destroy as (error: Error) => Promise<void>)(
          new MeshError('INMESH_ERR_CLOSED', `the client was closed ${timeoutMs} ms ago`, {
            reached: 'maybe',
          }),
        ).catch(() => {});
      });
      options.runtime.arm(timer, timeoutMs);
      await done;
      options.runtime.disarm(timer);
    },
  };
}
