import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { authorize, compilePolicies, normalizeTarget, type PolicySet } from '@inmesh/authz';
import type { MeshConfig } from '@inmesh/config';
import {
  type AuthorizationPolicy,
  CallContext,
  createStack,
  LiveCalls,
  type Logger,
  MeshError,
  type Runtime,
  StackHolder,
  type Workload,
} from '@inmesh/core';
import { createHttpListener, type HttpListener } from '@inmesh/http';
import { createTlsFrontEnd, type IdentitySource, type TlsFrontEnd } from '@inmesh/identity';
import { contentTypes, type ExpositionFormat, formatFor } from '@inmesh/telemetry';
import { ConnectionLimit } from './connection-limit.js';
import { type Readiness, readinessText } from './readiness.js';

/** What {@link MetricsListener} serves, and whom. */
export interface MetricsListenerParts {
  /** The configuration. */
  readonly config: MeshConfig;
  /** Who we are. */
  readonly workload: Workload;
  /** Proves it. */
  readonly source: IdentitySource;
  /** Metrics. */
  readonly text: (format: ExpositionFormat) => Promise<string>;
  /** Whether we are ready. */
  readonly readiness: () => Readiness;
  /** Time. */
  readonly runtime: Runtime;
  /** Told of denials. */
  readonly logger: Logger;
}

/** Probes answer everybody: a kubelet has no certificate. */
const probes: Omit<AuthorizationPolicy, 'namespace'> = Object.freeze({
  name: 'inmesh-probes',
  action: 'ALLOW',
  selector: {},
  origin: { source: 'inmesh', line: 0, column: 0 },
  rules: [{ to: [{ paths: ['/livez', '/readyz'] }], origin: { source: 'inmesh', line: 0, column: 0 } }],
});

function policiesOf({ config, workload }: MetricsListenerParts): PolicySet {
  const { metricsAllow } = config;
  const { namespace } = workload;
  return compilePolicies(
    metricsAllow === undefined ? [] : [metricsAllow, { ...probes, namespace }],
    workload,
  );
}

/** Connections at once: scrapers, and probes that come and go. */
const maxConnections = 100;

/** Metrics and probes, on a port of their own: in plaintext and with mTLS alike. */
export class MetricsListener {
  readonly #parts: MetricsListenerParts;
  readonly #listener: HttpListener;
  readonly #tls: TlsFrontEnd | undefined;
  readonly #limit: ConnectionLimit;
  /** Scrapes under way. */
  readonly #scrapes = new Map<ExpositionFormat, Promise<string>>();

  /** @param parts - What it serves. */
  constructor(parts: MetricsListenerParts) {
    const { config, source, runtime, logger } = parts;
    this.#parts = parts;
    this.#tls = config.mtls === 'disable' ? undefined : createTlsFrontEnd({ source, runtime, logger });
    const policies = policiesOf(parts);
    this.#listener = createHttpListener({
      server: createServer((request, response) => this.#handle(request, response)).unref(),
      tls: this.#tls,
      mode: config.mtls === 'disable' ? 'disable' : 'permissive',
      stack: new StackHolder(createStack([authorize({ policies: () => policies, logger })])),
      live: new LiveCalls(),
      context: new CallContext(),
      normalize: (target) => normalizeTarget(target, config.pathNormalization),
      runtime,
      logger,
    });
    this.#limit = new ConnectionLimit(this.#listener.server, maxConnections);
  }

  /**
   * Listens.
   *
   * @throws MeshError `INMESH_ERR_CONFIG_INVALID` if it cannot listen there.
   */
  async listen(): Promise<AddressInfo> {
    const { server } = this.#listener;
    const { host, port } = this.#parts.config.metricsAddr ?? { host: undefined, port: 0 };
    const listening = once(server, 'listening');
    if (host === undefined) server.listen(port);
    else server.listen(port, host);
    try {
      await listening;
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      throw new MeshError('INMESH_ERR_CONFIG_INVALID', `INMESH_METRICS_ADDR: ${text}`, { cause: error });
    }
    const address = server.address();
    if (address === null || typeof address === 'string')
      throw new MeshError('INMESH_ERR_INTERNAL', 'the listener of metrics listens on no TCP port');
    this.#parts.logger.info({ port: address.port, host: address.address }, 'metrics and probes are served');
    return address;
  }

  /** Where it listens. */
  address(): AddressInfo | undefined {
    const address = this.#listener.server.address();
    return address === null || typeof address === 'string' ? undefined : address;
  }

  /** Ends it. */
  async close(): Promise<void> {
    await this.#listener.close();
    this.#tls?.close();
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const { readiness } = this.#parts;
    this.#limit.onRequest(request.socket, response);
    const [path] = (request.url ?? '').split('?');
    if (request.method !== 'GET' && request.method !== 'HEAD') answer(response, 405, 'only GET\n');
    else if (path === '/livez') answer(response, 200, 'ok\n');
    else if (path === '/readyz') {
      const now = readiness();
      answer(response, now.isReady ? 200 : 503, readinessText(now));
    } else if (path === '/metrics') void this.#metrics(request, response);
    else answer(response, 404, 'there are /metrics, /livez and /readyz\n');
  }

  /** One at a time: whoever asks a thousand times in one write must not have them written a thousand times. */
  #scrape(format: ExpositionFormat): Promise<string> {
    const running = this.#scrapes.get(format);
    if (running !== undefined) return running;
    const scrape = this.#parts.text(format).finally(() => this.#scrapes.delete(format));
    this.#scrapes.set(format, scrape);
    return scrape;
  }

  async #metrics(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { logger } = this.#parts;
    try {
      const format = formatFor(request.headers.accept);
      answer(response, 200, await this.#scrape(format), contentTypes[format]);
    } catch (error) {
      logger.error({ error }, 'metrics could not be written');
      answer(response, 500, 'metrics could not be written\n');
    }
  }
}

function answer(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}
