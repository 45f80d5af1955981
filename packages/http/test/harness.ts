import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { normalizeTarget } from '@inmesh/authz';
import {
  CallContext,
  type Cluster,
  type ClusterRules,
  createStack,
  type Endpoint,
  type Layer,
  LiveCalls,
  type Logger,
  parseSpiffeId,
  type Route,
  type RouteRules,
  type Snapshot,
  StackHolder,
  silentLogger,
  systemRuntime,
  WatchSource,
} from '@inmesh/core';
import {
  createDialer,
  createStaticIdentity,
  createTlsFrontEnd,
  type DialerOptions,
  type StaticIdentitySource,
} from '@inmesh/identity';
import { createTestCa, type TestCa } from '@inmesh/identity/testing';
import {
  type ClusterState,
  Clusters,
  defaultClusterRules,
  defaultRouteRules,
  Router,
} from '@inmesh/resilience';
import { createHttpClient, type HttpClient } from '../src/client.js';
import {
  createHttpListener,
  type HttpListener,
  type HttpListenerOptions,
  toHttpServer,
} from '../src/index.js';

const trustDomain = 'a.test';

/** A client, and what is known of its clusters. */
export type TestClient = HttpClient & { readonly state: (name: string) => ClusterState };

function watchOf(endpoints: readonly Endpoint[]): WatchSource<readonly Endpoint[]> {
  const source = new WatchSource<readonly Endpoint[]>();
  source.set(endpoints);
  return source;
}

/** A process worth of mesh around one application. */
export interface TestService {
  readonly listener: HttpListener;
  readonly port: number;
  readonly live: LiveCalls;
  readonly context: CallContext;
  readonly stack: StackHolder;
  readonly source: StaticIdentitySource;
}

export class TestMesh {
  readonly ca: TestCa;
  readonly dir: string;
  readonly #cleanups: (() => Promise<unknown> | void)[] = [];

  private constructor(ca: TestCa, dir: string) {
    this.ca = ca;
    this.dir = dir;
  }

  static async start(): Promise<TestMesh> {
    const mesh = new TestMesh(await createTestCa(trustDomain), await mkdtemp(join(tmpdir(), 'inmesh-http-')));
    await writeFile(join(mesh.dir, 'ca.pem'), mesh.ca.bundlePem);
    return mesh;
  }

  cleanup(task: () => Promise<unknown> | void): void {
    this.#cleanups.push(task);
  }

  async identity(name: string, faults: Parameters<TestCa['issue']>[1] = {}): Promise<StaticIdentitySource> {
    const { certPem, keyPem } = await this.ca.issue(`/ns/default/sa/${name}`, faults);
    return createStaticIdentity({
      certPem,
      keyPem,
      bundles: new Map([[trustDomain, this.ca.bundlePem]]),
      runtime: systemRuntime,
      logger: silentLogger,
    });
  }

  async serve(
    app: unknown,
    options: Partial<HttpListenerOptions> & {
      readonly layers?: readonly Layer[];
      readonly name?: string;
    } = {},
  ): Promise<TestService> {
    const { layers = [], name = 'orders', ...rest } = options;
    const source = await this.identity(name);
    const tls = createTlsFrontEnd({ source, runtime: systemRuntime, logger: rest.logger ?? silentLogger });
    const live = new LiveCalls();
    const context = rest.context ?? new CallContext();
    const stack = new StackHolder(createStack(layers));
    const application = toHttpServer(app);
    const listener = createHttpListener({
      server: application.server,
      tls,
      mode: 'strict',
      stack,
      live,
      context,
      normalize: (target) => normalizeTarget(target, 'REJECT_ESCAPED_SLASHES'),
      runtime: systemRuntime,
      logger: silentLogger,
      ...rest,
    });
    await application.ready();
    application.server.listen(0, '127.0.0.1');
    await once(application.server, 'listening');
    this.cleanup(async () => {
      tls.close();
      await listener.close();
      await source.close();
    });
    return {
      listener,
      port: (application.server.address() as AddressInfo).port,
      live,
      context,
      stack,
      source,
    };
  }

  /** Files for curl and openssl. */
  async files(name: string, faults: Parameters<TestCa['issue']>[1] = {}): Promise<string> {
    const { certPem, keyPem } = await this.ca.issue(`/ns/default/sa/${name}`, {
      dnsNames: ['localhost'],
      ...faults,
    });
    const base = join(this.dir, `${name}-${Math.trunc(performance.now() * 1000)}`);
    await writeFile(`${base}.pem`, certPem);
    await writeFile(`${base}.key`, keyPem);
    return base;
  }

  async curl(base: string, url: string, ...args: string[]): Promise<{ code: number; out: string }> {
    const all = [
      '-sS',
      '--max-time',
      '10',
      '--cacert',
      join(this.dir, 'ca.pem'),
      '--cert',
      `${base}.pem`,
      '--key',
      `${base}.key`,
      '--insecure',
      '-w',
      '\n%{http_code} %{http_version}',
      ...args,
      url,
    ];
    return await new Promise((resolve) => {
      execFile('curl', all, (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code) : 0, out: stdout + (error ? stderr : '') }),
      );
    });
  }

  /** A raw TLS connection with an identity. */
  async raw(port: number, name = 'web', alpn: string[] = ['http/1.1']): Promise<TLSSocket> {
    const { certPem, keyPem } = await this.ca.issue(`/ns/default/sa/${name}`);
    const socket = connect({
      port,
      host: '127.0.0.1',
      cert: certPem,
      key: keyPem,
      rejectUnauthorized: false,
      ALPNProtocols: alpn,
    });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    this.cleanup(() => void socket.destroy());
    return socket;
  }

  /** Sends bytes and returns all that comes back. */
  async exchange(port: number, bytes: string, name = 'web'): Promise<string> {
    const socket = await this.raw(port, name);
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.write(bytes, 'latin1');
    // Not once(): it rejects when the server resets.
    await new Promise((resolve) => socket.once('close', resolve));
    return text;
  }

  async client(
    upstreams: Record<string, readonly (number | Partial<Endpoint>)[]>,
    options: {
      layers?: readonly Layer[];
      name?: string;
      context?: CallContext;
      identities?: Record<string, string>;
      logger?: Logger;
      source?: StaticIdentitySource;
      rules?: Partial<ClusterRules>;
      calls?: Partial<RouteRules>;
      routes?: Record<string, readonly Route[]>;
      connections?: number;
      keepsAttempts?: () => boolean;
      dialer?: Pick<DialerOptions, 'connectTimeoutMs' | 'handshakeTimeoutMs'>;
    } = {},
  ): Promise<TestClient> {
    const source = options.source ?? (await this.identity(options.name ?? 'web'));
    const dialer = createDialer({ source, runtime: systemRuntime, logger: silentLogger, ...options.dialer });
    const clusters = new Map<string, Cluster>(
      Object.entries(upstreams).map(([name, ports]) => [
        name,
        {
          name,
          identities: [
            parseSpiffeId(options.identities?.[name] ?? `spiffe://${trustDomain}/ns/default/sa/${name}`),
          ],
          endpoints: watchOf(
            ports.map((one) => ({
              host: '127.0.0.1',
              port: 0,
              ...(typeof one === 'number' ? { port: one } : one),
            })),
          ),
          rules: { ...defaultClusterRules, ...options.rules },
          routeRules: { ...defaultRouteRules, ...options.calls },
        },
      ]),
    );
    const snapshot: Snapshot = {
      version: 1,
      workload: { service: 'web', namespace: 'default', trustDomain, labels: {} },
      mtls: 'strict',
      clusters,
      policies: [],
      routes: new Map(Object.entries(options.routes ?? {})),
    };
    const states = new Clusters({ runtime: systemRuntime, logger: silentLogger });
    const client = createHttpClient({
      router: new Router(() => snapshot, states, systemRuntime),
      clusters: states,
      connections: options.connections ?? 64,
      ...(options.keepsAttempts === undefined ? {} : { keepsAttempts: options.keepsAttempts }),
      dialer,
      source,
      stack: new StackHolder(createStack(options.layers ?? [])),
      context: options.context ?? new CallContext(),
      runtime: systemRuntime,
      logger: options.logger ?? silentLogger,
    });
    this.cleanup(async () => {
      await (client.dispatcher.destroy as () => Promise<void>)();
      dialer.close();
      await source.close();
    });
    return Object.assign(client, {
      state: (name: string): ClusterState => {
        const cluster = clusters.get(name);
        if (cluster === undefined) throw new Error(name);
        return states.of(cluster);
      },
    });
  }

  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.toReversed()) await cleanup();
    await rm(this.dir, { recursive: true, force: true });
  }
}
