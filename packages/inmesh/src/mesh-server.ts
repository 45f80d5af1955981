import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Server as GrpcServer } from '@grpc/grpc-js';
import { authorize, compilePolicies, normalizeTarget, type PolicySet } from '@inmesh/authz';
import { type MeshConfig, value } from '@inmesh/config';
import {
  type Call,
  type CallContext,
  createStack,
  type Introductions,
  insertLayers,
  type Layer,
  LiveCalls,
  type Logger,
  MeshError,
  type Runtime,
  StackHolder,
  type Workload,
} from '@inmesh/core';
import type { AttachedGrpcServer } from '@inmesh/grpc';
import { createHttpListener, type HttpApplication, type HttpListener, toHttpServer } from '@inmesh/http';
import { createTlsFrontEnd, type IdentitySource, type TlsFrontEnd } from '@inmesh/identity';
import { type CallRecords, explain } from '@inmesh/telemetry';
import { checkServeOptions } from './check-options.js';
import { inboundLayers } from './default-stacks.js';
import { lazy } from './lazy.js';
import type { MeshServer, ServeOptions } from './mesh-contract.js';
import type { MeshMetrics } from './mesh-metrics.js';
import type { PolicyEngine } from './policy-engine.js';

/** What a server of a mesh shares with it. */
export interface ServerParts {
  /** The configuration. */
  readonly config: MeshConfig;
  /** Who we are. */
  readonly source: IdentitySource;
  /** The policies. */
  readonly policies: PolicyEngine;
  /** Layers of the user's. */
  readonly layers: readonly Layer[];
  /** Counts. */
  readonly metrics: Pick<
    MeshMetrics,
    'layer' | 'onDecision' | 'onHandshake' | 'onRefused' | 'onWrongSecurity'
  >;
  /** Records calls. */
  readonly records: CallRecords;
  /** Who we are. */
  readonly workload: Workload;
  /** Introduces us to callers; nobody does if `undefined`. */
  readonly introductions: Introductions | undefined;
  /** Carries the inbound call to outbound ones. */
  readonly context: CallContext;
  /** Time. */
  readonly runtime: Runtime;
  /** Told what happens. */
  readonly logger: Logger;
}

const nothingHere = (_request: unknown, response: { statusCode: number; end(): void }): void => {
  response.statusCode = 404;
  response.end();
};

const portNumber = value(
  'a whole number from 0 to 65535',
  (port) => typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535,
);
const hostName = value('an address or a name', (host) => typeof host === 'string' && host !== '');

/** Node takes other text for the path of a socket, which has no port and no address. */
function checkAddress(port: unknown, host: unknown): void {
  const problems: string[] = [];
  portNumber(port, 'port', problems);
  if (host !== undefined) hostName(host, 'host', problems);
  if (problems.length > 0)
    throw new MeshError('INMESH_ERR_CONFIG_INVALID', `cannot listen: ${problems.join('; ')}`);
}

/** Explains decisions to those who may ask; nothing where nobody may. */
function explanations({ explainAllow }: MeshConfig, workload: Workload): readonly Layer[] {
  if (explainAllow === undefined) return [];
  const set = compilePolicies([explainAllow], workload);
  return [explain((call) => set.decide(call.facts, call.headers).isAllowed)];
}

/** One port: an application, perhaps a gRPC server, and the mesh before both. */
export class Server implements MeshServer {
  readonly #parts: ServerParts;
  readonly #application: HttpApplication;
  readonly #listener: HttpListener;
  readonly #tls: TlsFrontEnd | undefined;
  readonly #live = new LiveCalls();
  readonly #stack: StackHolder;
  readonly #stopPolicies: () => void;
  readonly #stopIdentity: () => void;
  readonly #onClosed: (server: Server) => void;
  #set: PolicySet;
  #trustEpoch = 0;
  #grpc: AttachedGrpcServer | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: ServerParts, app: unknown, options: ServeOptions, onClosed: (server: Server) => void) {
    const { config, source, policies, metrics, introductions, context, runtime, logger } = parts;
    checkServeOptions(options);
    this.#parts = parts;
    this.#onClosed = onClosed;
    this.#application = toHttpServer(app ?? nothingHere);
    const http2 = options.http2 ?? config.http2;
    if (http2 && !this.#application.canHttp2) {
      throw new MeshError(
        'INMESH_ERR_CONFIG_INVALID',
        `http2 was asked for, but ${this.#application.framework} cannot serve HTTP/2`,
      );
    }
    this.#set = policies.compile(this.#application.equivalence);
    this.#stopPolicies = policies.onChange(() => this.#onPolicies());
    this.#stopIdentity = source.subscribe((state) => {
      if (state.kind === 'ready') this.#onIdentity(state.value.trustEpoch);
    });
    this.#stack = new StackHolder(this.#layers());
    this.#tls =
      config.mtls === 'disable'
        ? undefined
        : createTlsFrontEnd({
            source,
            runtime,
            logger,
            handshakeTimeoutMs: config.handshakeTimeout,
            maxPendingHandshakes: config.maxHandshakes,
            onHandshake: metrics.onHandshake.server,
          });
    this.#listener = createHttpListener({
      server: this.#application.server,
      tls: this.#tls,
      mode: config.mtls,
      stack: this.#stack,
      live: this.#live,
      context,
      normalize: (target) => normalizeTarget(target, config.pathNormalization),
      grpc: () => this.#grpc,
      http2,
      probePaths: config.probePaths,
      introductions,
      onRefused: metrics.onRefused,
      onWrongSecurity: metrics.onWrongSecurity,
      limits: {
        maxConnections: config.maxConnections,
        sniffTimeoutMs: config.sniffTimeout,
        headersTimeoutMs: config.headersTimeout,
      },
      runtime,
      logger,
    });
  }

  #layers(): ReturnType<typeof createStack> {
    const { config, layers, metrics, records, workload, runtime, logger } = this.#parts;
    const own = authorize({
      policies: () => this.#set,
      logger,
      onDecision(call, decision) {
        metrics.onDecision(call, decision);
        records.onDecision(call, decision);
      },
    });
    const seen = [metrics.layer, records.layer, ...explanations(config, workload)];
    return createStack(insertLayers(inboundLayers(seen, own, runtime), layers), (role, phase, error) =>
      logger.error({ role, phase, error }, 'a layer threw'),
    );
  }

  get http(): HttpApplication['server'] {
    return this.#application.server;
  }

  addGrpc(server: GrpcServer): void {
    if (this.#grpc !== undefined)
      throw new MeshError('INMESH_ERR_GRPC_SERVER', 'this port has a gRPC server already');
    const { context, introductions, metrics, runtime, logger } = this.#parts;
    this.#grpc = lazy.grpc().attachGrpcServer(server, {
      stack: this.#stack,
      live: this.#live,
      context,
      runtime,
      logger,
      isStale: (facts) => this.#tls?.isStale(facts) ?? false,
      introductions,
      onRefused: metrics.onRefused,
    });
  }

  /** Calls `visit` with each call under way. */
  forEachCall(visit: (call: Call) => void): void {
    this.#live.forEach(({ call }) => visit(call));
  }

  async listen(port = 0, host?: string): Promise<AddressInfo> {
    checkAddress(port, host);
    await this.#application.ready();
    const { http } = this;
    const listening = once(http, 'listening');
    if (host === undefined) http.listen(port);
    else http.listen(port, host);
    await listening;
    const address = this.address();
    if (address === null) throw new MeshError('INMESH_ERR_INTERNAL', 'the server listens on no TCP port');
    const { config, logger } = this.#parts;
    logger.info(
      {
        port: address.port,
        host: address.address,
        mtls: config.mtls,
        framework: this.#application.framework,
        grpc: this.#grpc !== undefined,
      },
      'listening',
    );
    return address;
  }

  address(): AddressInfo | null {
    const address = this.http.address();
    return typeof address === 'object' ? address : null;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { config } = this.#parts;
    await this.#listener.drain({ delayMs: config.drainDelay, timeoutMs: config.drainTimeout });
    this.#grpc?.close();
    this.#tls?.close();
    this.#stopPolicies();
    this.#stopIdentity();
    this.#onClosed(this);
  }

  /** An authority was removed: what it vouched for ends, however long it has been running. */
  #onIdentity(trustEpoch: number): void {
    if (trustEpoch === this.#trustEpoch) return;
    this.#trustEpoch = trustEpoch;
    this.#live.forEach(({ call }) => {
      const { peer } = call.facts.connection;
      if (peer === undefined || peer.trustEpoch === trustEpoch) return;
      call.cancel(
        new MeshError(
          'INMESH_ERR_PEER_IDENTITY',
          `an authority was removed that may have vouched for ${peer.id.uri}; it must connect anew`,
        ),
      );
    });
  }

  /** New policies decide the next call at once, and calls under way again. */
  #onPolicies(): void {
    this.#set = this.#parts.policies.compile(this.#application.equivalence);
    const stopped = this.#live.recheckAll();
    if (stopped > 0) this.#parts.logger.info({ stopped }, 'calls stopped by new policies');
  }
}
