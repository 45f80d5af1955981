import { Agent, type AgentOptions, type ClientRequest, type ClientRequestArgs } from 'node:http';
import { globalAgent as httpsGlobalAgent } from 'node:https';
import { connect as connectTcp, type NetConnectOpts, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { MeshError, type Runtime } from '@inmesh/core';
import { clientAlpn, connectionFacts, type Dialer, type IdentitySource } from '@inmesh/identity';
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

type Options = ClientRequestArgs & { readonly _defaultAgent?: unknown };
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

/**
 * An agent for node:http and everything built on it: mTLS to the endpoints of a mesh name, plain connections to
 * others, under `http:` and `https:` alike. It knows connections and not calls: layers of outbound calls do not run.
 */
export class MeshAgent extends Agent {
  readonly #options: MeshAgentOptions;

  /** @param options - Of the mesh; `agentOptions` of node:http. */
  constructor(options: MeshAgentOptions, agentOptions: AgentOptions = {}) {
    super({ keepAlive: true, maxSockets: options.connections, ...agentOptions });
    this.#options = options;
    // Without it node:http takes URLs of either scheme.
    delete (this as { protocol?: string }).protocol;
  }

  /** Called by node:http for each request; not part of its documented API and unchanged since Node 0.12. */
  addRequest(request: ClientRequest, options: Options): void {
    const fixed = isHttps(options) && Number(options.port) === 80 ? { ...options, port: 443 } : options;
    (Agent.prototype as unknown as AgentInternals).addRequest.call(this, request, fixed);
  }

  override getName(options: Options = {}): string {
    const name = this.#nameOf(options);
    if (name === undefined) return `${super.getName(options)}:${isHttps(options) ? 'tls' : 'tcp'}`;
    const { state } = this.#options.source;
    const identity = state.kind === 'ready' ? `${state.value.svid.id.uri}:${state.value.trustEpoch}` : '';
    return `mesh:${name}:${identity}`;
  }

  override createConnection(options: Options, done?: OnSocket): Duplex | null | undefined {
    const name = this.#nameOf(options);
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

  /** Connections retire while their certificates still have time, like those of the pools. */
  override keepSocketAlive(socket: Duplex): boolean {
    const peer = connectionFacts(socket)?.peer;
    if (peer !== undefined) {
      const { source, runtime } = this.#options;
      if (source.state.kind !== 'ready' || source.state.value.trustEpoch !== peer.trustEpoch) return false;
      const { svid } = source.state.value;
      const lifeMs = svid.notAfterMs - svid.notBeforeMs;
      if (peer.notAfterMs - runtime.wallMs() < lifeMs / 8) return false;
    }
    return (Agent.prototype as unknown as AgentInternals).keepSocketAlive.call(this, socket as Socket);
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
