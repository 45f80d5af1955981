import { Agent, type AgentOptions, type ClientRequest, type ClientRequestArgs } from 'node:http';
import { Agent as HttpsAgent, globalAgent as httpsGlobalAgent } from 'node:https';
import { connect as connectTcp, type NetConnectOpts, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { MeshError, type Runtime } from '@inmesh/core';
import { clientAlpn, connectionFacts, type Dialer, type IdentitySource, isRetired } from '@inmesh/identity';
import {
  attemptHeader,
  type ClusterState,
  deadlineHeader,
  type EndpointState,
  failurePenaltyMs,
  noEndpoint,
  type Router,
  type Tried,
  totalOf,
} from '@inmesh/resilience';

/** What a {@link MeshAgent} needs. */
export interface MeshAgentOptions {
  /** Says which cluster a name is. */
  readonly router: Router;
  /** Opens connections. */
  readonly dialer: Dialer;
  /** Who we are. */
  readonly source: IdentitySource;
  /** Time. */
  readonly runtime: Runtime;
  /** Told of each connection that is none of the mesh's, and whether it is TLS. */
  readonly onPassThrough: (isTls: boolean) => void;
  /** Told of each connection of the mesh's. */
  readonly onConnection: (cluster: string, socket: Socket) => void;
  /** Connections to one host. */
  readonly connections: number;
}

type Options = ClientRequestArgs & {
  readonly _defaultAgent?: unknown;
  readonly href?: string;
  /** What node:http filed the connection under that was made with these options. */
  readonly _agentKey?: string;
};
type OnSocket = (error: Error | null, socket: Duplex) => void;
/** Endpoints that are tried for one connection. */
const maxDials = 3;

/** Node's types want a socket beside an error; node:http passes none. */
type OnFailure = (error: Error) => void;
interface AgentInternals {
  addRequest(request: ClientRequest, options: Options): void;
  keepSocketAlive(socket: Socket): boolean;
}

/** An idle connection, and what node:http remembers of its last reply. */
type Idle = Duplex & {
  readonly _httpMessage?: { readonly res?: { readonly headers: NodeJS.Dict<string | string[]> } };
};

/** What an application that copies headers must not pass on: the deadline and the count of another hop. */
const ownHeaders: readonly string[] = [deadlineHeader, attemptHeader];

/** A connection is left this much earlier than its server would close it; node:http's own margin. */
const hintMarginMs = 1000;

/** How long the server keeps the connection open, in milliseconds; 0 if it does not say. */
function keepAliveHintMs({ _httpMessage }: Idle): number {
  const [, seconds = '0'] = /^timeout=(\d{1,6})/.exec(String(_httpMessage?.res?.headers['keep-alive'])) ?? [];
  return Number(seconds) * 1000;
}

function all(lists: NodeJS.ReadOnlyDict<Socket[]>): readonly Socket[] {
  return Object.values(lists).flatMap((list) => list ?? []);
}

function isHttps(options: Options): boolean {
  return options._defaultAgent === httpsGlobalAgent || options.protocol === 'https:';
}

/** node:http fills in its own port for `https:` too; a port 80 that was asked for stands in the URL. */
function isDefaultPort(options: Options): boolean {
  if (!isHttps(options) || Number(options.port) !== 80) return false;
  return options.href === undefined || !/^https:\/\/[^/?#]*:80(?:[/?#]|$)/i.test(options.href);
}

/** What the last of several dials came to, and how many there were: an agent has no record that would tell. */
function afterDials(error: MeshError, dials: number): MeshError {
  return totalOf(error, dials, error.reached);
}

/** The last one is beyond the near ones, which may all be out; but for it, those come first. */
function pickAnother(
  cluster: ClusterState,
  nowMs: number,
  tried: Tried,
  isLast: boolean,
): EndpointState | undefined {
  const spare = (): EndpointState | undefined => cluster.pickSpare(nowMs, undefined, tried);
  const first = isLast ? spare() : undefined;
  return first ?? cluster.pickUntried(nowMs, tried) ?? spare() ?? cluster.rescue(nowMs, undefined, tried);
}

/**
 * An agent for node:http and everything built on it: mTLS to the endpoints of a mesh name, plain connections to
 * others, under `http:` and `https:` alike. It knows connections and not calls: layers of outbound calls do not run.
 */
export class MeshAgent extends Agent {
  readonly #options: MeshAgentOptions;
  /** Connections being made; node:http knows none of them. */
  readonly #dials = new Set<Promise<void>>();
  readonly #hasTimeout: boolean;
  #isClosing = false;

  /** @param options - Of the mesh; `agentOptions` of node:http. */
  constructor(options: MeshAgentOptions, agentOptions: AgentOptions = {}) {
    super({ keepAlive: true, maxSockets: options.connections, ...agentOptions });
    this.#options = options;
    this.#hasTimeout = Boolean(agentOptions.timeout);
    // Without it node:http takes URLs of either scheme.
    delete (this as { protocol?: string }).protocol;
  }

  /** Called by node:http for each request; not part of its documented API and unchanged since Node 0.12. */
  addRequest(request: ClientRequest, options: Options): void {
    if (this.#nameOf(options) !== undefined && !request.headersSent)
      for (const name of ownHeaders) request.removeHeader(name);
    const fixed = isDefaultPort(options) ? { ...options, port: 443 } : options;
    this.#dropRetired(this.getName(fixed));
    (Agent.prototype as unknown as AgentInternals).addRequest.call(this, request, fixed);
  }

  override getName(options: Options = {}): string {
    // Where it was filed it must be found again, also when the identity in the key has changed since.
    if (options._agentKey !== undefined) return options._agentKey;
    const name = this.#nameOf(options);
    if (name === undefined) {
      // Connections that were verified differently must not be shared.
      return isHttps(options)
        ? `tls:${HttpsAgent.prototype.getName.call(this, options)}`
        : `tcp:${super.getName(options)}`;
    }
    const { state } = this.#options.source;
    const identity = state.kind === 'ready' ? `${state.value.svid.id.uri}:${state.value.trustEpoch}` : '';
    return `mesh:${name}:${identity}`;
  }

  override createConnection(options: Options, done?: OnSocket): Duplex | null | undefined {
    const name = this.#nameOf(options);
    if (this.#isClosing) {
      queueMicrotask(() =>
        (done as OnFailure | undefined)?.(new MeshError('INMESH_ERR_CLOSED', 'the agent is closed')),
      );
      return undefined;
    }
    if (name !== undefined) {
      try {
        this.#watchDial(this.#options.router.clusterOf(name), done);
      } catch (error) {
        queueMicrotask(() => (done as OnFailure | undefined)?.(error as Error));
      }
      return undefined;
    }
    const isTls = isHttps(options);
    this.#options.onPassThrough(isTls);
    return isTls ? connectTls(options as ConnectionOptions) : connectTcp(options as NetConnectOpts);
  }

  /** Connections retire at half of their lives, like those of the pools; none is kept when the agent closes. */
  override keepSocketAlive(socket: Duplex): boolean {
    if (this.#isClosing || this.#isRetired(socket)) return false;
    const isKept = (Agent.prototype as unknown as AgentInternals).keepSocketAlive.call(
      this,
      socket as Socket,
    );
    const hintMs = keepAliveHintMs(socket as Idle);
    // Without a timeout of its own node:http keeps it until the server closes it, perhaps under the next request.
    if (isKept && hintMs > hintMarginMs && !this.#hasTimeout)
      (socket as Socket).setTimeout(hintMs - hintMarginMs);
    return isKept;
  }

  /** The time that an idle connection may take is not that of a request. */
  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    if (!this.#hasTimeout) (socket as Socket).setTimeout(0);
    super.reuseSocket(socket, request);
  }

  /** Refuses further connections; ends when the requests under way have, and every connection is closed. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const socket of all(this.freeSockets)) socket.destroy();
    for (;;) {
      const open = [...all(this.freeSockets), ...all(this.sockets)];
      if (open.length + this.#dials.size === 0) break;
      await Promise.all([
        ...this.#dials,
        ...open.map((socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()))),
      ]);
    }
    this.destroy();
  }

  /** Dials, and is known to until whoever asked has the connection. */
  #watchDial(cluster: ClusterState, done: OnSocket | undefined): void {
    let finish: () => void = () => {};
    const dial = new Promise<void>((resolve) => (finish = resolve));
    this.#dials.add(dial);
    this.#dial(cluster, undefined, 0, (error, socket) => {
      done?.(error, socket);
      this.#dials.delete(dial);
      finish();
    });
  }

  #isRetired(socket: Duplex): boolean {
    const peer = connectionFacts(socket)?.peer;
    if (peer === undefined) return false;
    const { source, runtime } = this.#options;
    if (source.state.kind !== 'ready' || source.state.value.trustEpoch !== peer.trustEpoch) return true;
    return isRetired(socket, runtime.wallMs());
  }

  /** What waits for work may have aged meanwhile. */
  #dropRetired(key: string): void {
    const free = this.freeSockets[key] ?? [];
    // Taken out at once: node:http picks from the end, and passes over closed ones only at the front.
    for (let i = free.length - 1; i >= 0; i--) {
      const socket = free[i];
      if (socket === undefined || !(socket.destroyed || this.#isRetired(socket))) continue;
      free.splice(i, 1);
      socket.destroy();
    }
  }

  #nameOf(options: Options): string | undefined {
    return this.#options.router.nameOf(options.host ?? options.hostname ?? '');
  }

  /** Connects to an endpoint, and to others while that fails: nothing was sent yet. */
  #dial(
    cluster: ClusterState,
    tried: Tried | undefined,
    dials: number,
    done: OnSocket | undefined,
    failure?: MeshError,
  ): void {
    const { runtime, dialer } = this.#options;
    const fail = (error: Error): void => (done as OnFailure | undefined)?.(error);
    if (cluster.connections >= cluster.rules.limits.maxConnections) {
      const refusal = cluster.overflow('maxConnections', cluster.connections);
      queueMicrotask(() => fail(refusal));
      return;
    }
    const startMs = runtime.now();
    const endpoint =
      tried === undefined
        ? cluster.pick(startMs)
        : pickAnother(cluster, startMs, tried, dials + 1 === maxDials);
    if (endpoint === undefined) {
      const refusal = afterDials(failure ?? noEndpoint(cluster.cluster), dials);
      queueMicrotask(() => fail(refusal));
      return;
    }
    const { host, port } = endpoint.endpoint;
    const { identities, name } = cluster.cluster;
    cluster.connections++;
    cluster.onStart(endpoint);
    dialer.dial(
      { host, port, expect: identities, alpn: clientAlpn.http1, cluster: name },
      (error, socket) => {
        cluster.onEnd(endpoint);
        const nowMs = runtime.now();
        if (socket !== undefined) {
          socket.once('close', () => cluster.connections--);
          cluster.onConnected(endpoint);
          this.#options.onConnection(name, socket);
          // A connection is all that can be said here of an endpoint that came back.
          if (endpoint.isOnProbation) cluster.onResult(endpoint, 'ok', undefined, nowMs);
          done?.(null, socket);
          return;
        }
        cluster.connections--;
        cluster.onResult(endpoint, 'local-error', Math.max(nowMs - startMs, failurePenaltyMs), nowMs);
        cluster.onUnreachable();
        const count = dials + 1;
        if (count < maxDials) this.#dial(cluster, { endpoint, before: tried }, count, done, error);
        else {
          const cause =
            error ?? new MeshError('INMESH_ERR_CONNECT_FAILED', `cannot connect to ${cluster.name}`);
          fail(afterDials(cause, count));
        }
      },
    );
  }
}
