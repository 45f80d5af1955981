import type { Agent, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ChannelCredentials, ClientOptions, Server as GrpcServer } from '@grpc/grpc-js';
import type { MeshSettings, ResolvedConfig } from '@inmesh/config';
import type { Layer, Logger, PeerIdentity, Runtime, Watch } from '@inmesh/core';
import type { GrpcChannelOptions } from '@inmesh/grpc';
import type { HttpClient } from '@inmesh/http/client';
import type { IdentitySnapshot, StaticIdentity } from '@inmesh/identity';
import type { BalancerFactory } from '@inmesh/resilience';
import type { CallRecord, ExpositionFormat, PromRegistry } from '@inmesh/telemetry';
import type { Readiness } from './readiness.js';
import type { CallDeadline, MeshStats } from './stats.js';

/** Layers of your own, beside ours. */
export interface UserLayers {
  /** See inbound calls, after `authorize` unless they say otherwise. */
  readonly inbound?: readonly Layer[];
  /** See outbound calls. */
  readonly outbound?: readonly Layer[];
}

/** What `createMesh` takes: every setting, and what only code can say. */
export interface MeshOptions extends MeshSettings {
  /** Environment to read. @defaultValue `process.env` */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Directory whose `package.json` may name the service. @defaultValue `process.cwd()` */
  readonly cwd?: string;
  /** Identity in code; wins over files and the dev CA. @defaultValue from the environment */
  readonly svid?: StaticIdentity;
  /** AuthorizationPolicy objects of Istio, beside those of the policy directory. @defaultValue none */
  readonly policies?: readonly unknown[];
  /** Layers of your own. @defaultValue none */
  readonly layers?: UserLayers;
  /** Balancers of your own, by upstream. @defaultValue those that the rules name */
  readonly balancers?: Readonly<Record<string, BalancerFactory>>;
  /** Where Inmesh says what it does. @defaultValue JSON lines on standard error */
  readonly logger?: Logger;
  /** Time and chance. @defaultValue the system's */
  readonly runtime?: Runtime;
}

/** What {@link Mesh.serve} may be told. */
export interface ServeOptions {
  /** Whether plain HTTP over HTTP/2 reaches the application. @defaultValue setting `http2` */
  readonly http2?: boolean;
}

/** A server of the mesh. */
export interface MeshServer {
  /** The `http.Server` that listens; WebSocket libraries want it. */
  readonly http: Server;
  /**
   * Puts a grpc-js server, services added, behind the same port, identity and policies.
   *
   * @throws MeshError `INMESH_ERR_GRPC_SERVER`
   */
  addGrpc(server: GrpcServer): void;
  /**
   * Listens.
   *
   * @param port - 0 picks a free one.
   * @param host - All addresses if left out.
   * @throws MeshError `INMESH_ERR_CONFIG_INVALID` if that is no port or no host; what the system says otherwise.
   */
  listen(port?: number, host?: string): Promise<AddressInfo>;
  /** Where it listens; `null` before. */
  address(): AddressInfo | null;
  /** Drains: calls in flight end, new connections are told to go elsewhere. */
  close(): Promise<void>;
}

/** gRPC clients of the mesh. */
export interface MeshGrpc {
  /** mTLS to the identity of a `mesh:///name` target. */
  credentials(): ChannelCredentials;
  /**
   * Resolver, balancer and layers.
   *
   * @param options - Methods that may reach a handler twice.
   * @throws MeshError `INMESH_ERR_CONFIG_INVALID`
   */
  channelOptions(options?: GrpcChannelOptions): ClientOptions;
}

/** A service mesh inside this process. Several may live in one. */
export interface Mesh {
  /** Puts the mesh before an application: a `(req, res)` function, Express, Koa, Fastify, Hono, an `http.Server`; none for gRPC alone. */
  serve(app?: unknown, options?: ServeOptions): MeshServer;
  /** The built-in fetch for mesh names; other names pass through. */
  readonly fetch: HttpClient['fetch'];
  /** The same for undici. */
  readonly dispatcher: HttpClient['dispatcher'];
  /** The same for node:http and node:https. Outbound layers do not run here: an agent sees connections, not calls. */
  agent(): Agent;
  /** The same for grpc-js. */
  readonly grpc: MeshGrpc;
  /** Who sent a request, or makes a gRPC call: a verified identity, `undefined` on plaintext. */
  peer(requestOrCall: unknown): PeerIdentity | undefined;
  /**
   * How long the call in whose handler we are may still take; `undefined` without a deadline. Calls made in the
   * handler are bound by it without this.
   */
  deadline(): CallDeadline | undefined;
  /** Counts of the clusters that were called, as they are now. */
  stats(): MeshStats;
  /**
   * Calls `listener` with the record of each call, inbound and outbound, when it has ended: what became of it, and what
   * was decided about it. Costs nothing while nobody listens.
   *
   * @returns How to stop.
   * @throws MeshError `INMESH_ERR_CONFIG_INVALID` for any other event.
   */
  on(event: 'decision', listener: (record: CallRecord) => void): () => void;
  /** Whether calls should be sent here, and why not. `/readyz` of `INMESH_METRICS_ADDR` shows the same. */
  readiness(): Readiness;
  /** Every metric, as `/metrics` of `INMESH_METRICS_ADDR` shows them. @param format - Text format of Prometheus if left out. */
  metricsText(format?: ExpositionFormat): Promise<string>;
  /**
   * Shows our metrics, those of the process apart, in a registry of prom-client beside the application's own.
   *
   * @param registry - `register` of prom-client, or one of your own.
   */
  registerWith(registry: PromRegistry): void;
  /** Where metrics and probes are served; `undefined` without `INMESH_METRICS_ADDR`. */
  metricsAddress(): AddressInfo | undefined;
  /** Our own identity and its changes. */
  readonly identity: Watch<IdentitySnapshot>;
  /** The configuration in force, and where each value came from. */
  readonly config: ResolvedConfig;
  /** Drains every server, then ends everything else. */
  close(): Promise<void>;
}
