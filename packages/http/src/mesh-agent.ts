import { Agent, type AgentOptions, type ClientRequest, type ClientRequestArgs } from 'node:http';
import { globalAgent as httpsGlobalAgent } from 'node:https';
import { connect as connectTcp, type NetConnectOpts, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { type Cluster, findCluster, MeshError, type Runtime, type Snapshot } from '@inmesh/core';
import { clientAlpn, connectionFacts, type Dialer, type IdentitySource } from '@inmesh/identity';

/** What a {@link MeshAgent} needs. */
export interface MeshAgentOptions {
  /** Clusters now. */
  readonly snapshot: () => Snapshot;
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
  #next = 0;

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
    const cluster = this.#cluster(options);
    if (cluster === undefined) return `${super.getName(options)}:${isHttps(options) ? 'tls' : 'tcp'}`;
    const { state } = this.#options.source;
    const identity = state.kind === 'ready' ? `${state.value.svid.id.uri}:${state.value.trustEpoch}` : '';
    return `mesh:${cluster.name}:${identity}`;
  }

  override createConnection(options: Options, done?: OnSocket): Duplex | null | undefined {
    const cluster = this.#cluster(options);
    if (cluster !== undefined) {
      this.#dial(cluster, done);
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

  #cluster(options: Options): Cluster | undefined {
    return findCluster(this.#options.snapshot(), options.host ?? options.hostname ?? '');
  }

  #dial(cluster: Cluster, done: OnSocket | undefined): void {
    const endpoint = cluster.endpoints[this.#next++ % Math.max(1, cluster.endpoints.length)];
    if (endpoint === undefined) {
      queueMicrotask(() =>
        (done as OnFailure | undefined)?.(
          new MeshError('INMESH_ERR_NO_ENDPOINT', `${cluster.name} has no endpoint`),
        ),
      );
      return;
    }
    const { host, port } = endpoint;
    this.#options.dialer.dial(
      { host, port, expect: cluster.identities, alpn: clientAlpn.http1, cluster: cluster.name },
      (error, socket) => {
        if (socket === undefined) (done as OnFailure | undefined)?.(error ?? new Error('no connection'));
        else done?.(null, socket);
      },
    );
  }
}
