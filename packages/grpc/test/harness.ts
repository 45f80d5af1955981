import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import {
  CallContext,
  type Cluster,
  createStack,
  type Layer,
  LiveCalls,
  parseSpiffeId,
  type Snapshot,
  StackHolder,
  silentLogger,
  systemRuntime,
} from '@inmesh/core';
import {
  createDialer,
  createStaticIdentity,
  createTlsFrontEnd,
  type StaticIdentitySource,
} from '@inmesh/identity';
import { createTestCa, type TestCa } from '@inmesh/identity/testing';
import { createGrpcClient, createGrpcListener, type GrpcClient, type GrpcListener } from '../src/index.js';

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

export class EchoClient extends grpc.Client {
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

export function createEchoServer(handlers: grpc.UntypedServiceImplementation): grpc.Server {
  const server = new grpc.Server();
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
    } = {},
  ): Promise<TestService> {
    const source = await this.identity(options.name ?? 'echo');
    const tls = createTlsFrontEnd({ source, runtime: systemRuntime, logger: silentLogger });
    const live = new LiveCalls();
    const context = options.context ?? new CallContext();
    const stack = new StackHolder(createStack(options.layers ?? []));
    const listener = createGrpcListener({
      server: createEchoServer(handlers),
      tls,
      mode: options.mode ?? 'strict',
      stack,
      live,
      context,
      runtime: systemRuntime,
      logger: silentLogger,
    });
    listener.server.listen(0, '127.0.0.1');
    await once(listener.server, 'listening');
    this.cleanup(async () => {
      tls.close();
      await listener.close();
      await source.close();
    });
    return { listener, port: (listener.server.address() as AddressInfo).port, live, stack, context };
  }

  async client(
    ports: readonly number[],
    options: {
      layers?: readonly Layer[];
      context?: CallContext;
      expect?: string;
      name?: string;
      source?: StaticIdentitySource;
    } = {},
  ): Promise<{ mesh: GrpcClient; client: EchoClient; source: StaticIdentitySource }> {
    const source = options.source ?? (await this.identity(options.name ?? 'web'));
    const dialer = createDialer({ source, runtime: systemRuntime, logger: silentLogger });
    const cluster: Cluster = {
      name: 'echo',
      identities: [parseSpiffeId(`spiffe://a.test/ns/default/sa/${options.expect ?? 'echo'}`)],
      endpoints: ports.map((port) => ({ host: '127.0.0.1', port })),
    };
    const snapshot: Snapshot = {
      version: 1,
      workload: { service: 'web', namespace: 'default', trustDomain: 'a.test', labels: {} },
      mtls: 'strict',
      clusters: new Map([['echo', cluster]]),
      policies: [],
    };
    const mesh = createGrpcClient({
      snapshot: () => snapshot,
      onSnapshot: () => () => {},
      dialer,
      source,
      stack: new StackHolder(createStack(options.layers ?? [])),
      context: options.context ?? new CallContext(),
      runtime: systemRuntime,
    });
    const client = new EchoClient('mesh:///echo', mesh.credentials(), mesh.channelOptions());
    this.cleanup(async () => {
      client.close();
      mesh.close();
      dialer.close();
      await source.close();
    });
    return { mesh, client, source };
  }

  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.toReversed()) await cleanup();
  }
}
