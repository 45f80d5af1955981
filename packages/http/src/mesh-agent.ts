import { Agent, type AgentOptions, type ClientRequest, type ClientRequestArgs } from 'node:http';
import { Agent as HttpsAgent, globalAgent as httpsGlobalAgent } from 'node:https';
import { connect as connectTcp, type NetConnectOpts, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { MeshError, type Runtime } from '@inmesh/core';
import { clientAlpn, connectionFacts, type Dialer, type IdentitySource, isRetired } from '@inmesh/identity';
import { type ClusterState, type EndpointState, failurePenaltyMs, type Router } from '@inmesh/resilience';

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
  /** Told of each connection that is none of the mesh's. */
  readonly onPassThrough: () => void;
  /** Connections to one host. */
  readonly connections: number;
}

type Options = ClientRequestArgs & { readonly _defaultAgent?: unknown; readonly href?: string };
type OnSocket = (error: Error | null, socket: Duplex) => void;
/** Endpoints that are tried for one connection. */
const maxDials = 3;

/** Node's types want a socket beside an error; node:http passes none. */
type OnFailure = (error: Error) => void;
interface AgentInternals {
  addRequest(request: ClientRequest, options: Options): void;
  keepSocketAlive(socket: Socket): boolean;
}

function isHttps(options: Options): boolean {
  return options._defaultAgent === httpsGlobalAgent || options.protocol === 'https:';
}

/** node:http fills in its own port for `https:` too; a port 80 that was asked for stands in the URL. */
function isDefaultPort(options: Options): boolean {
  if (!isHttps(options) || Number(options.port) !== 80) return false;
  return options.href === undefined || !/^https:\/\/[^/?#]*:80(?:[/?#]|$)/i.test(options.href);
}

/**
 * An agent for node:http and everything built on it: mTLS to the endpoints of a mesh name, plain connections to
 * others, under `http:` and `https:` alike. It knows connections and not calls: layers of outbound calls do not run.
 */
export class MeshAgent extends Agent {
  readonly #options: MeshAgentOptions;
  #isClosing = false;

  /** @param options - Of the mesh; `agentOptions` of node:http. */
  constructor(options: MeshAgentOptions, agentOptions: AgentOptions = {}) {
    super({ keepAlive: true, maxSockets: options.connections, ...agentOptions });
    this.#options = options;
    // Without it node:http takes URLs of either scheme.
    delete (this as { protocol?: string }).protocol;
  }

  /** Called by node:http for each request; not part of its documented API and unchanged since Node 0.12. */
  addRequest(request: ClientRequest, options: Options): void {
    const fixed = isDefaultPort(options) ? { ...options, port: 443 } : options;
    this.#dropRetired(this.getName(fixed));
    (Agent.prototype as unknown as AgentInternals).addRequest.call(this, request, fixed);
  }

  override getName(options: Options = {}): string {
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
        this.#dial(this.#options.router.clusterOf(name), [], done);
      } catch (error) {
        queueMicrotask(() => (done as OnFailure | undefined)?.(error as Error));
      }
      return undefined;
    }
    this.#options.onPassThrough();
    return isHttps(options)
      ? connectTls(options as ConnectionOptions)
      : connectTcp(options as NetConnectOpts);
  }

  /** Connections retire at half of their lives, like those of the pools; none is kept when the agent closes. */
  override keepSocketAlive(socket: Duplex): boolean {
    if (this.#isClosing || this.#isRetired(socket)) return false;
    return (Agent.prototype as unknown as AgentInternals).keepSocketAlive.call(this, socket as Socket);
  }

  /** Refuses further connections; ends when the requests under way have. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const socket of Object.values(this.freeSockets).flatMap((list) => list ?? [])) socket.destroy();
    const busy = Object.values(this.sockets).flatMap((list) => list ?? []);
    await Promise.all(
      busy.map((socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()))),
    );
    this.destroy();
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
    for (const socket of this.freeSockets[key] ?? []) if (this.#isRetired(socket)) socket.destroy();
  }

  #nameOf(options: Options): string | undefined {
    return this.#options.router.nameOf(options.host ?? options.hostname ?? '');
  }

  /** Connects to an endpoint, and to others while that fails: nothing was sent yet. */
  #dial(cluster: ClusterState, tried: readonly EndpointState[], done: OnSocket | undefined): void {
    const { runtime, dialer } = this.#options;
    const fail = (error: Error): void => (done as OnFailure | undefined)?.(error);
    const startMs = runtime.now();
    const endpoint = cluster.pick(startMs, (one) => !tried.includes(one));
    if (endpoint === undefined) {
      queueMicrotask(() =>
        fail(new MeshError('INMESH_ERR_NO_ENDPOINT', `${cluster.name} has no endpoint that can be used`)),
      );
      return;
    }
    const { host, port } = endpoint.endpoint;
    const { identities, name } = cluster.cluster;
    dialer.dial(
      { host, port, expect: identities, alpn: clientAlpn.http1, cluster: name },
      (error, socket) => {
        if (socket !== undefined) {
          done?.(null, socket);
          return;
        }
        const nowMs = runtime.now();
        cluster.onResult(endpoint, 'local-error', Math.max(nowMs - startMs, failurePenaltyMs), nowMs);
        cluster.onUnreachable();
        const next = [...tried, endpoint];
        if (next.length < maxDials && cluster.pick(nowMs, (one) => !next.includes(one)) !== undefined)
          this.#dial(cluster, next, done);
        else fail(error ?? new MeshError('INMESH_ERR_CONNECT_FAILED', `cannot connect to ${cluster.name}`));
      },
    );
  }
}
