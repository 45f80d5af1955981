import type { ResolvedConfig } from '@inmesh/config';
import type { WatchedFiles } from '@inmesh/config/manifests';
import {
  type CallContext,
  createStack,
  type Introductions,
  insertLayers,
  type Logger,
  MeshError,
  type PeerIdentity,
  type Runtime,
  type Snapshot,
  StackHolder,
  type Watch,
  type Workload,
} from '@inmesh/core';
import type { GrpcClient } from '@inmesh/grpc';
import { httpPeer } from '@inmesh/http';
import type { HttpClient } from '@inmesh/http/client';
import { createDialer, type Dialer, type IdentitySnapshot, type IdentitySource } from '@inmesh/identity';
import { Clusters, Router } from '@inmesh/resilience';
import {
  CallRecords,
  type ExpositionFormat,
  PeerIntroductions,
  TracedContext,
  tracing,
} from '@inmesh/telemetry';
import { type ConfigFiles, type Configured, watchConfig } from './config-reload.js';
import { lazy } from './lazy.js';
import type { Mesh, MeshGrpc, MeshOptions, MeshServer, ServeOptions } from './mesh-contract.js';
import { MeshMetrics } from './mesh-metrics.js';
import { Server } from './mesh-server.js';
import { MetricsListener } from './metrics-listener.js';
import type { PolicyEngine } from './policy-engine.js';
import { type Readiness, readinessOf } from './readiness.js';
import { type CallDeadline, deadlineOf, type MeshStats, reportStats } from './stats.js';
import { drainOnSignal } from './stop-signal.js';

/** What `createMesh` has made before the mesh itself. */
export interface MeshParts {
  readonly options: MeshOptions;
  readonly configured: Configured;
  readonly files: ConfigFiles | undefined;
  readonly workload: Workload;
  readonly source: IdentitySource;
  readonly policies: PolicyEngine;
  readonly layers: NonNullable<MeshOptions['layers']>;
  readonly balancers: NonNullable<MeshOptions['balancers']>;
  readonly runtime: Runtime;
  readonly logger: Logger;
}

/** A mesh of this process: what it is made of, and what it gives out. */
export class InProcessMesh implements Mesh {
  readonly #parts: MeshParts;
  readonly #context: CallContext = new TracedContext();
  readonly #servers = new Set<Server>();
  readonly #dialer: Dialer;
  readonly #outbound: StackHolder;
  readonly #clusters: Clusters;
  readonly #router: Router;
  #http: HttpClient | undefined;
  #grpc: GrpcClient | undefined;
  #closing: Promise<void> | undefined;
  #isClientClosed = false;
  readonly #letGo: () => void;
  readonly #metrics: MeshMetrics;
  readonly #metricsListener: MetricsListener | undefined;
  readonly #records: CallRecords;
  readonly #introductions: Introductions | undefined;
  readonly #onSnapshot = new Set<() => void>();
  #configured: Configured;
  #watch: WatchedFiles<Configured> | undefined;

  constructor(parts: MeshParts) {
    const { source, runtime, logger, layers, balancers, configured } = parts;
    const { config } = configured;
    this.#parts = parts;
    this.#configured = configured;
    this.#clusters = new Clusters({
      runtime,
      logger,
      locality: config.values.locality ?? '',
      balancers,
      onUnreachable: (cluster) => this.#configured.traffic.sources.get(cluster)?.refresh(),
    });
    this.#router = new Router(() => this.#snapshot(), this.#clusters, runtime);
    parts.policies.onChange(() => {
      this.#current = undefined;
    });
    this.#metrics = new MeshMetrics({
      ...parts,
      clusters: this.#clusters,
      files: () => this.#watch,
      bypasses: () => this.#http?.stats.bypasses,
      identitiesOf: (cluster) => this.#configured.traffic.clusters.get(cluster)?.identities ?? [],
      forEachCall: (visit) => {
        for (const server of this.#servers) server.forEachCall(visit);
        this.#grpc?.forEachCall(visit);
      },
    });
    const { accessLog, explainAllow, peerMetadata } = config.values;
    if (peerMetadata) this.#introductions = new PeerIntroductions(parts.workload);
    this.#records = new CallRecords({ accessLog, logger, runtime }, explainAllow !== undefined);
    this.#dialer = createDialer({
      source,
      runtime,
      logger,
      connectTimeoutMs: config.values.connectTimeout,
      handshakeTimeoutMs: config.values.connectTimeout,
      onHandshake: this.#metrics.onHandshake.client,
    });
    this.#outbound = new StackHolder(
      createStack(
        insertLayers([this.#metrics.layer, this.#records.layer], layers.outbound ?? []),
        (role, phase, error) => logger.error({ role, phase, error }, 'a layer threw'),
      ),
    );
    if (config.values.metricsAddr !== undefined) {
      this.#metrics.start();
      this.#metricsListener = new MetricsListener({
        ...parts,
        config: config.values,
        text: (format) => this.#metrics.text(format),
        readiness: () => this.readiness(),
      });
    }
    this.#letGo = config.values.sigterm === 'drain' ? drainOnSignal(this, logger) : () => {};
  }

  get config(): ResolvedConfig {
    return this.#configured.config;
  }

  get identity(): Watch<IdentitySnapshot> {
    return this.#parts.source;
  }

  get dispatcher(): HttpClient['dispatcher'] {
    return this.#httpClient().dispatcher;
  }

  readonly fetch: HttpClient['fetch'] = (input, init) => {
    // Whoever fetches waits for a rejection, and that is a TypeError.
    if (this.#isClientClosed) return Promise.reject(new TypeError('fetch failed', { cause: closed() }));
    return this.#httpClient().fetch(input, init);
  };

  get grpc(): MeshGrpc {
    return this.#grpcClient();
  }

  serve(app?: unknown, options: ServeOptions = {}): MeshServer {
    if (this.#closing !== undefined) throw closed();
    const { layers, ...parts } = this.#parts;
    const server = new Server(
      {
        ...parts,
        config: this.config.values,
        layers: layers.inbound ?? [],
        metrics: this.#metrics,
        records: this.#records,
        introductions: this.#introductions,
        context: this.#context,
      },
      app,
      options,
      (closed) => this.#servers.delete(closed),
    );
    this.#servers.add(server);
    return server;
  }

  agent(): ReturnType<HttpClient['agent']> {
    return this.#httpClient().agent();
  }

  peer(requestOrCall: unknown): PeerIdentity | undefined {
    const isRpc =
      typeof requestOrCall === 'object' &&
      requestOrCall !== null &&
      'metadata' in requestOrCall &&
      'sendMetadata' in requestOrCall;
    // An interceptor of the application may have put other metadata in the place of ours.
    const current = this.#context.current();
    const isOurs = current?.side === 'server' && current.protocol === 'grpc';
    return isRpc
      ? (lazy.grpc().grpcPeer(requestOrCall as Parameters<ReturnType<typeof lazy.grpc>['grpcPeer']>[0]) ??
          (isOurs ? current.facts.connection.peer : undefined))
      : httpPeer(requestOrCall);
  }

  deadline(): CallDeadline | undefined {
    return deadlineOf(this.#context.current(), this.#parts.runtime.now());
  }

  stats(): MeshStats {
    return reportStats(this.#clusters, this.#http?.stats.passedThrough ?? 0);
  }

  on(event: 'decision', listener: Parameters<Mesh['on']>[1]): () => void {
    if (event !== 'decision')
      throw new MeshError(
        'INMESH_ERR_CONFIG_INVALID',
        `a mesh has no event ${JSON.stringify(event)}; there is "decision"`,
      );
    return this.#records.listen(listener);
  }

  readiness(): Readiness {
    const { source, policies } = this.#parts;
    return readinessOf(source, policies, this.#watch, this.#closing !== undefined);
  }

  metricsText(format: ExpositionFormat = 'prometheus'): Promise<string> {
    return this.#metrics.text(format);
  }

  registerWith(registry: Parameters<Mesh['registerWith']>[0]): void {
    this.#metrics.registerWith(registry);
  }

  metricsAddress(): ReturnType<Mesh['metricsAddress']> {
    return this.#metricsListener?.address();
  }

  /** Takes changes of the configuration file, if there is one. */
  async followFiles(): Promise<void> {
    const { files, ...parts } = this.#parts;
    if (files === undefined) return;
    this.#watch = await watchConfig(files, { ...parts, current: () => this.#configured });
    this.#watch.subscribe((state) => {
      if (state.kind === 'ready' && state.value !== this.#configured) this.#configure(state.value);
    });
  }

  /** Swaps everything that a file says, as one: calls under way go on as they began. */
  #configure(next: Configured): void {
    const { policies, logger } = this.#parts;
    const { traffic } = this.#configured;
    this.#configured = next;
    this.#current = undefined;
    policies.configure(next.config.values);
    for (const listener of this.#onSnapshot) listener();
    traffic.closeUnless(next.traffic);
    logger.info({ upstreams: [...next.config.values.upstreams.keys()] }, 'configuration in force');
  }

  /** Serves metrics and probes, where that is configured. @throws MeshError `INMESH_ERR_CONFIG_INVALID` */
  async serveMetrics(): Promise<void> {
    await this.#metricsListener?.listen();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // Servers first: a handler that is finishing its call may still have to make one.
    await Promise.all([...this.#servers].map((server) => server.close()));
    this.#isClientClosed = true;
    const { drainTimeout } = this.config.values;
    await Promise.all([this.#http?.close(drainTimeout), this.#grpc?.close({ timeoutMs: drainTimeout })]);
    this.#dialer.close();
    this.#clusters.close();
    this.#watch?.close();
    this.#configured.traffic.closeUnless();
    this.#parts.policies.close();
    // Last: until then it says that we are closing.
    await this.#metricsListener?.close();
    await this.#parts.source.close();
    this.#letGo();
  }

  /** Clients serve the handlers that are finishing, and close after the servers. */
  #checkClients(): void {
    if (this.#isClientClosed) throw closed();
  }

  readonly #snapshot = (): Snapshot => {
    const { workload, policies } = this.#parts;
    const { config, traffic } = this.#configured;
    this.#current ??= Object.freeze({
      version: ++this.#version,
      workload,
      mtls: config.values.mtls,
      clusters: traffic.clusters,
      routes: traffic.routes,
      policies: policies.policies,
    });
    return this.#current;
  };
  #current: Snapshot | undefined;
  #version = 0;

  /** What clients of both protocols share, so that endpoints, budgets and connections' identities are one. */
  #forClients() {
    const { source, runtime } = this.#parts;
    return {
      router: this.#router,
      clusters: this.#clusters,
      dialer: this.#dialer,
      source,
      stack: this.#outbound,
      context: this.#context,
      tracing,
      introductions: this.#introductions,
      keepsAttempts: () => this.#records.isOn,
      runtime,
    };
  }

  #httpClient(): HttpClient {
    this.#checkClients();
    this.#http ??= lazy.httpClient().createHttpClient({
      ...this.#forClients(),
      connections: this.config.values.poolSize,
      onConnection: this.#metrics.onConnection,
      logger: this.#parts.logger,
    });
    return this.#http;
  }

  #grpcClient(): GrpcClient {
    this.#checkClients();
    this.#grpc ??= lazy.grpc().createGrpcClient({
      ...this.#forClients(),
      connectTimeoutMs: this.config.values.connectTimeout,
      snapshot: this.#snapshot,
      onSnapshot: (listener) => {
        this.#onSnapshot.add(listener);
        return () => this.#onSnapshot.delete(listener);
      },
    });
    return this.#grpc;
  }
}

function closed(): MeshError {
  return new MeshError('INMESH_ERR_CLOSED', 'the mesh is closed');
}
