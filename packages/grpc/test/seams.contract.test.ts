// What we rely on of grpc-js without a public promise. Each test names the seam.
import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, createServer } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { addInterceptor, type StreamSource, takeStreams } from '../src/seams.js';
import { createEchoServer, EchoClient, echo } from './harness.js';

const { experimental: X } = grpc;
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).toReversed()) close();
});

async function listen(source: StreamSource): Promise<number> {
  const server = createServer((socket) => source.inject(socket.on('error', () => {})));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    source.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function client(port: number): EchoClient {
  const made = new EchoClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  closers.push(() => made.close());
  return made;
}

describe('streams of a server that exists (b6)', () => {
  it('can be seen, kept and handed on: gRPC runs, plain HTTP/2 is ours', async () => {
    const paths: string[] = [];
    const source: StreamSource = takeStreams(createEchoServer({}), (stream, headers, flags, raw) => {
      paths.push(String(headers[':path']));
      if (String(headers['content-type']).startsWith('application/grpc'))
        source.run(stream, headers, flags, raw);
      else {
        stream.respond({ ':status': 299 });
        stream.end();
      }
    });
    const port = await listen(source);
    expect(await client(port).unary('x')).toBe('echo x');
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    closers.push(() => session.destroy());
    const stream = session.request({ ':path': '/plain' });
    const [head] = (await once(stream, 'response')) as [Record<string, unknown>];
    expect(head[':status']).toBe(299);
    expect(paths).toEqual(['/test.Echo/Unary', '/plain']);
  });

  it('its interceptors can be added to after its services, and run while the stream is handed over', async () => {
    const store = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const server = createEchoServer({});
    addInterceptor(server, (method, call) => {
      seen.push(method.path, store.getStore());
      return new grpc.ServerInterceptingCall(call);
    });
    const source: StreamSource = takeStreams(server, (stream, headers, flags, raw) =>
      store.run('handed over', () => source.run(stream, headers, flags, raw)),
    );
    expect(await client(await listen(source)).unary('x')).toBe('echo x');
    expect(seen).toEqual(['/test.Echo/Unary', 'handed over']);
  });

  it('gdrain: an injector drains: what is in flight ends, new calls go to a new connection, tryShutdown returns', async () => {
    let finish: () => void = () => {};
    const server = createEchoServer({
      Unary: (_call: unknown, done: grpc.sendUnaryData<string>) => (finish = () => done(null, 'late')),
    });
    const source: StreamSource = takeStreams(server, (stream, headers, flags, raw) =>
      source.run(stream, headers, flags, raw),
    );
    const caller = client(await listen(source));
    const first = caller.unary('x');
    const isRunning = async (): Promise<void> => {
      const before = finish;
      while (finish === before) await new Promise(setImmediate);
    };
    await isRunning();
    const finishFirst = finish;
    source.drain(10_000);
    finishFirst();
    expect(await first).toBe('late');
    const second = caller.unary('x');
    await isRunning();
    finish();
    expect(await second).toBe('late');
    caller.close();
    await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  });
});

describe('resolver and balancer (lb)', () => {
  it('a registered resolver and balancer pick the subchannel, with options of their own on it', async () => {
    const source: StreamSource = takeStreams(createEchoServer({}), (stream, headers, flags, raw) =>
      source.run(stream, headers, flags, raw),
    );
    const port = await listen(source);
    const seen: unknown[] = [];
    class Resolver {
      readonly #listener: grpc.experimental.ResolverListener;
      constructor(
        target: grpc.experimental.GrpcUri,
        listener: grpc.experimental.ResolverListener,
        options: grpc.ChannelOptions,
      ) {
        seen.push(target.path, options['contract.option']);
        this.#listener = listener;
      }
      updateResolution(): void {
        process.nextTick(() =>
          this.#listener(
            X.statusOrFromValue([{ addresses: [{ host: '127.0.0.1', port }] }]),
            {},
            X.statusOrFromValue({ methodConfig: [], loadBalancingConfig: [{ contract_lb: {} }] }) as never,
            '',
          ),
        );
      }
      destroy(): void {}
      static getDefaultAuthority(): string {
        return 'contract';
      }
    }
    class Config {
      getLoadBalancerName(): string {
        return 'contract_lb';
      }
      toJsonObject(): object {
        return { contract_lb: {} };
      }
      static createFromJson(): Config {
        return new Config();
      }
    }
    class Balancer {
      readonly #helper: grpc.experimental.ChannelControlHelper;
      constructor(helper: grpc.experimental.ChannelControlHelper) {
        this.#helper = helper;
      }
      updateAddressList(
        list: { ok: boolean; value?: grpc.experimental.Endpoint[] },
        _config: unknown,
        options: grpc.ChannelOptions,
      ): boolean {
        const [endpoint] = list.value ?? [];
        const subchannel = this.#helper.createSubchannel(endpoint?.addresses[0] as never, {
          ...options,
          'contract.endpoint': 7,
        });
        subchannel.ref();
        subchannel.addConnectivityStateListener((_subchannel, _before, now) => {
          if (now === grpc.connectivityState.READY)
            this.#helper.updateState(
              now,
              {
                pick: () => ({
                  pickResultType: X.PickResultType.COMPLETE,
                  subchannel,
                  status: null,
                  onCallStarted: null,
                  onCallEnded: null,
                }),
              },
              null,
            );
        });
        subchannel.startConnecting();
        return true;
      }
      exitIdle(): void {}
      resetBackoff(): void {}
      destroy(): void {}
      getTypeName(): string {
        return 'contract_lb';
      }
    }
    class Credentials extends grpc.ChannelCredentials {
      _isSecure(): boolean {
        return false;
      }
      _equals(other: grpc.ChannelCredentials): boolean {
        return other === this;
      }
      _createSecureConnector(
        target: grpc.experimental.GrpcUri,
        options: grpc.ChannelOptions,
      ): grpc.experimental.SecureConnector {
        seen.push(target.path, options['contract.endpoint']);
        return {
          connect: (socket) => Promise.resolve({ socket, secure: false }),
          waitForReady: () => Promise.resolve(),
          getCallCredentials: () => grpc.CallCredentials.createEmpty(),
          destroy() {},
        };
      }
    }
    X.registerResolver('contract', Resolver as never);
    X.registerLoadBalancerType('contract_lb', Balancer as never, Config);
    const made = new EchoClient('contract:///orders', new Credentials(), {
      'contract.option': 'mesh',
      'grpc.use_local_subchannel_pool': 1,
    });
    closers.push(() => made.close());
    expect(await made.unary('x')).toBe('echo x');
    expect(seen).toEqual(['orders', 'mesh', 'orders', 7]);
  });
});

describe('where the context of a caller is (als)', () => {
  it('callInvocationTransformer and interceptors run in it; options keep a symbol from one to the other', async () => {
    const source: StreamSource = takeStreams(createEchoServer({}), (stream, headers, flags, raw) =>
      source.run(stream, headers, flags, raw),
    );
    const port = await listen(source);
    const store = new AsyncLocalStorage<string>();
    const key = Symbol('contract');
    const seen: unknown[] = [];
    const made = new EchoClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      callInvocationTransformer: (properties) => {
        seen.push(`transformer ${store.getStore()} ${properties.channel.getTarget()}`);
        return {
          ...properties,
          callOptions: Object.assign({}, properties.callOptions, { [key]: store.getStore() }),
        };
      },
      interceptors: [
        (options, next) => {
          seen.push(
            `interceptor ${store.getStore()} ${String((options as unknown as Record<symbol, unknown>)[key])}`,
          );
          return new grpc.InterceptingCall(next(options));
        },
      ],
    });
    closers.push(() => made.close());
    await Promise.all(['A', 'B'].map((name) => store.run(name, () => made.unary(name))));
    expect(seen).toEqual(
      ['A', 'B'].flatMap((name) => [
        `transformer ${name} dns:127.0.0.1:${port}`,
        `interceptor ${name} ${name}`,
      ]),
    );
    expect(echo.Unary.path).toBe('/test.Echo/Unary');
  });
});
