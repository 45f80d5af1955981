import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import {
  CallContext,
  type Cluster,
  type ClusterRules,
  createStack,
  type Endpoint,
  type HeaderEdits,
  type Layer,
  LiveCalls,
  type Logger,
  parseSpiffeId,
  type Rewrite,
  type Route,
  type RouteAction,
  type RouteBackend,
  type RouteRules,
  type Runtime,
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
  type StaticIdentitySource,
} from '@inmesh/identity';
import { createTestCa, type TestCa } from '@inmesh/identity/testing';
import {
  type ClusterState,
  Clusters,
  defaultClusterRules,
  defaultRetryRules,
  defaultRouteRules,
  Router,
} from '@inmesh/resilience';
import {
  createGrpcClient,
  createGrpcListener,
  errorKey,
  type GrpcChannelOptions,
  type GrpcClient,
  type GrpcListener,
} from '../src/index.js';

const toBuffer = (text: string): Buffer => Buffer.from(text);
const toText = (buffer: Buffer): string => buffer.toString();
const method = (
  name: string,
  requestStream: boolean,
  responseStream: boolean,
): grpc.MethodDefinition<string, string> => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: toBuffer,
  requestDeserialize: toText,
  responseSerialize: toBuffer,
  responseDeserialize: toText,
});
export const echo = {
  Unary: method('Unary', false, false),
  Client: method('Client', true, false),
  Server: method('Server', false, true),
  Bidi: method('Bidi', true, true),
};

/** Path of a method of the test service. */
export const path = (name: keyof typeof echo): string => `/test.Echo/${name}`;

export const fault = async (run: Promise<unknown>): Promise<grpc.ServiceError> =>
  await run.then(
    () => {
      throw new Error('succeeded');
    },
    (error: unknown) => error as grpc.ServiceError,
  );

export type Unary = (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => void;

const quick = { baseMs: 1, maxMs: 2 };
export const retried = (changed: Partial<RouteRules['retry']> = {}): Partial<RouteRules> => ({
  retry: { ...defaultRetryRules, backoff: quick, ...changed },
});
export const idempotent = { idempotent: [path('Unary')] };
/** Fails with a status until `left` calls have failed. */
export const failing = (
  code: grpc.status,
  left = Number.POSITIVE_INFINITY,
  trailers: Record<string, string> = {},
) => {
  const seen = { calls: 0 };
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(trailers)) metadata.set(name, value);
  const Unary: Unary = (call, done) => {
    seen.calls++;
    if (seen.calls > left)
      done(null, `attempt ${String(call.metadata.get('grpc-previous-rpc-attempts')[0] ?? 0)}`);
    else done({ code, details: `no ${seen.calls}`, metadata });
  };
  return { seen, Unary };
};
export const codeOf = (error: grpc.ServiceError): unknown => error.metadata.get(errorKey)[0];

/** A route of the test mesh. */
export function route(given: {
  readonly name: string;
  readonly matches?: Route['matches'];
  readonly to?: string | readonly RouteBackend[];
  readonly action?: RouteAction;
  readonly rewrite?: Rewrite;
  readonly rules?: Partial<RouteRules>;
  readonly request?: HeaderEdits;
  readonly response?: HeaderEdits;
}): Route {
  const { name, matches = [], to = [], rewrite, request, response } = given;
  const backends = typeof to === 'string' ? [{ cluster: to }] : to;
  return {
    name,
    matches,
    action: given.action ?? { kind: 'forward', backends, ...(rewrite === undefined ? {} : { rewrite }) },
    rules: { ...defaultRouteRules, ...given.rules },
    origin: { source: 'code' } as never,
    ...(request === undefined ? {} : { request }),
    ...(response === undefined ? {} : { response }),
  };
}

export class EchoClient extends grpc.Client {
  start(text: string, done: grpc.requestCallback<string>): grpc.ClientUnaryCall {
    return this.makeUnaryRequest(echo.Unary.path, toBuffer, toText, text, done);
  }
  /** A client stream that stays open. */
  open(): { readonly call: grpc.ClientWritableStream<string>; readonly reply: Promise<string> } {
    let call: grpc.ClientWritableStream<string> | undefined;
    const reply = new Promise<string>((resolve, reject) => {
      call = this.makeClientStreamRequest(echo.Client.path, toBuffer, toText, (error, value) =>
        error ? reject(error) : resolve(value ?? ''),
      );
    });
    return { call: call as unknown as grpc.ClientWritableStream<string>, reply };
  }
  unary(text: string, metadata = new grpc.Metadata(), options: grpc.CallOptions = {}): Promise<string> {
    return new Promise((resolve, reject) =>
      this.makeUnaryRequest(echo.Unary.path, toBuffer, toText, text, metadata, options, (error, value) =>
        error ? reject(error) : resolve(value ?? ''),
      ),
    );
  }
  collect(texts: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = this.makeClientStreamRequest(
        echo.Client.path,
        toBuffer,
        toText,
        new grpc.Metadata(),
        (error, value) => (error ? reject(error) : resolve(value ?? '')),
      );
      for (const text of texts) call.write(text);
      call.end();
    });
  }
  stream(text: string): grpc.ClientReadableStream<string> {
    return this.makeServerStreamRequest(echo.Server.path, toBuffer, toText, text);
  }
  bidi(): grpc.ClientDuplexStream<string, string> {
    return this.makeBidiStreamRequest(echo.Bidi.path, toBuffer, toText);
  }
}

export function createEchoServer(
  handlers: grpc.UntypedServiceImplementation,
  options: grpc.ServerOptions = {},
): grpc.Server {
  const server = new grpc.Server(options);
  server.addService(echo, {
    Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) =>
      done(null, `echo ${call.request}`),
    Client: (call: grpc.ServerReadableStream<string, string>, done: grpc.sendUnaryData<string>) => {
      const seen: string[] = [];
      call.on('data', (text: string) => seen.push(text)).on('end', () => done(null, seen.join()));
    },
    Server: (call: grpc.ServerWritableStream<string, string>) => {
      for (let i = 0; i < 3; i++) call.write(`${call.request}${i}`);
      call.end();
    },
    Bidi: (call: grpc.ServerDuplexStream<string, string>) => {
      call.on('data', (text: string) => call.write(`echo ${text}`)).on('end', () => call.end());
    },
    ...handlers,
  });
  return server;
}

export interface TestService {
  readonly listener: GrpcListener;
  readonly port: number;
  readonly live: LiveCalls;
  readonly stack: StackHolder;
  readonly context: CallContext;
  readonly source: StaticIdentitySource;
}

export interface ClientOptions {
  layers?: readonly Layer[];
  context?: CallContext;
  expect?: string;
  name?: string;
  source?: StaticIdentitySource;
  runtime?: Runtime;
  rules?: Partial<RouteRules>;
  clusterRules?: Partial<ClusterRules>;
  /** Further clusters, by name. */
  clusters?: Readonly<Record<string, readonly number[]>>;
  /** Routes of `echo`. */
  routes?: readonly Route[];
  channel?: GrpcChannelOptions;
  keepsAttempts?: () => boolean;
  /** Told of clusters that could not be connected to. */
  onUnreachable?: (cluster: string) => void;
  grpc?: grpc.ClientOptions;
}

export interface TestClient {
  readonly mesh: GrpcClient;
  readonly client: EchoClient;
  readonly source: StaticIdentitySource;
  cluster(name?: string): ClusterState;
  endpoints(name?: string): WatchSource<readonly Endpoint[]>;
  /** Clusters that could not be connected to, once for each failure. */
  readonly unreachable: readonly string[];
  replace(changed: Partial<Snapshot>): void;
}

export class TestMesh {
  readonly ca: TestCa;
  readonly #cleanups: (() => Promise<unknown> | void)[] = [];

  private constructor(ca: TestCa) {
    this.ca = ca;
  }

  static async start(): Promise<TestMesh> {
    return new TestMesh(await createTestCa('a.test'));
  }

  cleanup(task: () => Promise<unknown> | void): void {
    this.#cleanups.push(task);
  }

  async identity(name: string, faults: Parameters<TestCa['issue']>[1] = {}): Promise<StaticIdentitySource> {
    const { certPem, keyPem } = await this.ca.issue(`/ns/default/sa/${name}`, faults);
    return createStaticIdentity({
      certPem,
      keyPem,
      bundles: new Map([['a.test', this.ca.bundlePem]]),
      runtime: systemRuntime,
      logger: silentLogger,
    });
  }

  async serve(
    handlers: grpc.UntypedServiceImplementation = {},
    options: {
      readonly layers?: readonly Layer[];
      readonly name?: string;
      readonly mode?: 'strict' | 'permissive';
      readonly context?: CallContext;
      readonly server?: grpc.ServerOptions;
      readonly runtime?: Runtime;
      readonly headersTimeoutMs?: number;
      readonly logger?: Logger;
    } = {},
  ): Promise<TestService> {
    const source = await this.identity(options.name ?? 'echo');
    const tls = createTlsFrontEnd({ source, runtime: systemRuntime, logger: silentLogger });
    const live = new LiveCalls();
    const context = options.context ?? new CallContext();
    const stack = new StackHolder(createStack(options.layers ?? []));
    const listener = createGrpcListener({
      server: createEchoServer(handlers, options.server),
      tls,
      mode: options.mode ?? 'strict',
      stack,
      live,
      context,
      runtime: options.runtime ?? systemRuntime,
      logger: options.logger ?? silentLogger,
      ...(options.headersTimeoutMs === undefined ? {} : { headersTimeoutMs: options.headersTimeoutMs }),
    });
    listener.server.listen(0, '127.0.0.1');
    await once(listener.server, 'listening');
    this.cleanup(async () => {
      tls.close();
      await listener.close();
      await source.close();
    });
    return { listener, port: (listener.server.address() as AddressInfo).port, live, stack, context, source };
  }

  /** A client of the clusters given; the first is the one that `client` calls. */
  async client(ports: readonly number[], options: ClientOptions = {}): Promise<TestClient> {
    const source = options.source ?? (await this.identity(options.name ?? 'web'));
    const runtime = options.runtime ?? systemRuntime;
    const dialer = createDialer({ source, runtime: systemRuntime, logger: silentLogger });
    const watches = new Map<string, WatchSource<readonly Endpoint[]>>();
    const cluster = (name: string, list: readonly number[]): Cluster => {
      const endpoints = new WatchSource<readonly Endpoint[]>();
      endpoints.set(list.map((port) => ({ host: '127.0.0.1', port })));
      watches.set(name, endpoints);
      return {
        name,
        identities: [parseSpiffeId(`spiffe://a.test/ns/default/sa/${options.expect ?? 'echo'}`)],
        endpoints,
        rules: { ...defaultClusterRules, ...options.clusterRules },
        routeRules: { ...defaultRouteRules, ...options.rules },
      };
    };
    const named = Object.entries({ echo: ports, ...options.clusters });
    let snapshot: Snapshot = {
      version: 1,
      workload: { service: 'web', namespace: 'default', trustDomain: 'a.test', labels: {} },
      mtls: 'strict',
      clusters: new Map(named.map(([name, list]) => [name, cluster(name, list)])),
      routes: new Map(options.routes === undefined ? [] : [['echo', options.routes]]),
      policies: [],
    };
    const listeners = new Set<() => void>();
    const unreachable: string[] = [];
    const clusters = new Clusters({
      runtime,
      logger: silentLogger,
      onUnreachable: (name) => {
        unreachable.push(name);
        options.onUnreachable?.(name);
      },
    });
    const mesh = createGrpcClient({
      snapshot: () => snapshot,
      onSnapshot: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      router: new Router(() => snapshot, clusters, runtime),
      clusters,
      dialer,
      source,
      stack: new StackHolder(createStack(options.layers ?? [])),
      context: options.context ?? new CallContext(),
      runtime,
      ...(options.keepsAttempts === undefined ? {} : { keepsAttempts: options.keepsAttempts }),
    });
    const client = new EchoClient('mesh:///echo', mesh.credentials(), {
      ...mesh.channelOptions(options.channel),
      ...options.grpc,
    });
    this.cleanup(async () => {
      client.close();
      await mesh.close({ timeoutMs: 0 });
      dialer.close();
      await source.close();
    });
    return {
      mesh,
      client,
      source,
      cluster: (name = 'echo') => {
        const found = snapshot.clusters.get(name);
        if (found === undefined) throw new Error(`no cluster ${name}`);
        return clusters.of(found);
      },
      endpoints: (name = 'echo') => {
        const found = watches.get(name);
        if (found === undefined) throw new Error(`no cluster ${name}`);
        return found;
      },
      unreachable,
      replace: (changed) => {
        snapshot = { ...snapshot, ...changed, version: snapshot.version + 1 };
        for (const listener of listeners) listener();
      },
    };
  }

  /** A port that takes connections and says nothing. */
  async silentPort(): Promise<number> {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {});
      this.cleanup(() => void socket.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.cleanup(() => void server.close());
    return (server.address() as AddressInfo).port;
  }

  /** A unary RPC by node:http2, as `web`. @returns its trailers, or its head if that is all */
  async rawUnary(port: number, headers: Record<string, string>): Promise<Record<string, unknown>> {
    const { certPem, keyPem } = await this.ca.issue('/ns/default/sa/web');
    const session = connectHttp2('https://echo', {
      createConnection: () =>
        connectTls({
          port,
          host: '127.0.0.1',
          cert: certPem,
          key: keyPem,
          rejectUnauthorized: false,
          ALPNProtocols: ['h2'],
        }),
    });
    this.cleanup(() => session.destroy());
    const stream = session.request({
      ':path': echo.Unary.path,
      ':method': 'POST',
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    stream.end(Buffer.from([0, 0, 0, 0, 1, 65]));
    const [head] = (await once(stream, 'response')) as [Record<string, unknown>];
    if (head['grpc-status'] !== undefined) {
      stream.resume();
      return head;
    }
    const trailers = once(stream, 'trailers');
    stream.resume();
    return ((await trailers) as [Record<string, unknown>])[0];
  }

  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.toReversed()) await cleanup();
  }
}
