// What the client relies on of grpc-js without a public promise. Each test names the seam.
import { once } from 'node:events';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { CallMetadata, originOf } from '../src/call-origin.js';
import { isRefused, isReset } from '../src/outcome.js';
import {
  type AttemptListener,
  type AttemptSubchannel,
  addInterceptor,
  entriesOf,
  metadataOf,
  onHalfClose,
  onStart,
  toPickInformation,
  toPickResult,
} from '../src/seams.js';
import { createEchoServer, EchoClient, fault, path } from './harness.js';

const { experimental: X } = grpc;
type CallConfig = ReturnType<grpc.experimental.ConfigSelector['invoke']>;

/** What a test does with each RPC and each attempt; grpc-js keeps resolvers by name, so there is one for all. */
interface Script {
  invoke(path: string, metadata: grpc.Metadata): Partial<CallConfig>;
  pick?(args: grpc.experimental.PickArgs, subchannel: Subchannel): grpc.experimental.PickResult;
}
type Subchannel = grpc.experimental.SubchannelInterface;

const complete = (subchannel: Subchannel): grpc.experimental.PickResult => ({
  pickResultType: X.PickResultType.COMPLETE,
  subchannel,
  status: null,
  onCallStarted: null,
  onCallEnded: null,
});

let script: Script = { invoke: () => ({}) };
let port = 0;

class Resolver {
  readonly #listener: grpc.experimental.ResolverListener;
  constructor(_target: unknown, listener: grpc.experimental.ResolverListener) {
    this.#listener = listener;
  }
  updateResolution(): void {
    const selector: grpc.experimental.ConfigSelector = {
      invoke: (method, metadata) => ({
        methodConfig: { name: [] },
        pickInformation: {},
        status: grpc.status.OK,
        dynamicFilterFactories: [],
        ...script.invoke(method, metadata),
      }),
      unref() {},
    };
    setImmediate(() =>
      this.#listener(
        X.statusOrFromValue([]),
        { [X.CHANNEL_ARGS_CONFIG_SELECTOR_KEY]: selector },
        X.statusOrFromValue({ methodConfig: [], loadBalancingConfig: [{ client_contract: {} }] }) as never,
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
    return 'client_contract';
  }
  toJsonObject(): object {
    return { client_contract: {} };
  }
  static createFromJson(): Config {
    return new Config();
  }
}
class Balancer {
  readonly #helper: grpc.experimental.ChannelControlHelper;
  #subchannel: Subchannel | undefined;
  constructor(helper: grpc.experimental.ChannelControlHelper) {
    this.#helper = helper;
  }
  updateAddressList(_list: unknown, _config: unknown, options: grpc.ChannelOptions): boolean {
    const subchannel = this.#helper.createSubchannel({ host: '127.0.0.1', port }, options);
    this.#subchannel = subchannel;
    subchannel.ref();
    subchannel.addConnectivityStateListener((_subchannel, _before, now) => {
      if (now === grpc.connectivityState.IDLE) subchannel.startConnecting();
      if (now !== grpc.connectivityState.READY) return;
      this.#helper.updateState(
        now,
        { pick: (args) => script.pick?.(args, subchannel) ?? complete(subchannel) },
        null,
      );
    });
    subchannel.startConnecting();
    return true;
  }
  exitIdle(): void {}
  resetBackoff(): void {}
  destroy(): void {
    this.#subchannel?.unref();
  }
  getTypeName(): string {
    return 'client_contract';
  }
}
X.registerResolver('clientcontract', Resolver as never);
X.registerLoadBalancerType('client_contract', Balancer as never, Config);

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).toReversed()) close();
});

async function listen(server: grpc.Server): Promise<void> {
  port = await new Promise((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  closers.push(() => server.forceShutdown());
}

function client(given: Script, options: grpc.ClientOptions = {}): EchoClient {
  script = given;
  const made = new EchoClient('clientcontract:///x', grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    ...options,
  });
  closers.push(() => made.close());
  return made;
}

/** A server that does with streams what grpc-js servers do not. */
async function listenRaw(onStream: (stream: ServerHttp2Stream) => void): Promise<void> {
  const server = createServer();
  server.on('sessionError', () => {});
  server.on('stream', (stream) => onStream(stream.on('error', () => {})));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  port = (server.address() as AddressInfo).port;
}

describe('the metadata of grpc-js', () => {
  it('is kept in a map of lists, which can be read without a copy', () => {
    const metadata = new grpc.Metadata();
    metadata.add('a', '1');
    metadata.add('A', '2');
    metadata.set('b-bin', Buffer.from('x'));
    const expected = [
      ['a', ['1', '2']],
      ['b-bin', [Buffer.from('x')]],
    ];
    const entries = entriesOf(metadata);
    expect([entries instanceof Map, [...entries]]).toEqual([true, expected]);
  });
});

describe('selector, filter and picker of an RPC', () => {
  it('metadata of a class of our own comes to the selector as its own clone, also of calls that had to wait', async () => {
    await listen(createEchoServer({}));
    const seen: unknown[] = [];
    const made = client(
      {
        invoke: (_path, metadata) => {
          seen.push(originOf(metadata)?.deadlineMs, metadata.get('x-own')[0]);
          return {};
        },
      },
      {
        callInvocationTransformer: (properties) => {
          properties.metadata = new CallMetadata(properties.metadata, { deadlineMs: seen.length } as never);
          return properties;
        },
      },
    );
    const shared = new grpc.Metadata();
    shared.set('x-own', 'yes');
    await Promise.all([made.unary('a', shared), made.unary('b', shared)]);
    seen.push('now');
    await made.unary('c', shared);
    expect(seen).toEqual([0, 'yes', 0, 'yes', 'now', 5, 'yes']);
  });

  it('an object goes from the selector to the picker; a filter sees each end of the RPC once', async () => {
    await listen(createEchoServer({}));
    const seen: string[] = [];
    const rpc = { own: true };
    const filter = {
      createFilter: () => filter,
      sendMetadata: (metadata: Promise<grpc.Metadata>) => (seen.push('send'), metadata),
      receiveMetadata: (metadata: grpc.Metadata) => (seen.push('head'), metadata),
      sendMessage: <T>(message: T) => message,
      receiveMessage: <T>(message: T) => message,
      receiveTrailers: (status: grpc.StatusObject) => (seen.push(`status ${status.code}`), status),
    };
    const made = client({
      invoke: () => ({ pickInformation: toPickInformation(rpc), dynamicFilterFactories: [filter] }),
      pick: ({ extraPickInfo }, subchannel) => {
        seen.push(`pick ${String((extraPickInfo as unknown) === rpc)}`);
        return complete(subchannel);
      },
    });
    expect(await made.unary('x')).toBe('echo x');
    expect(seen).toEqual(['send', 'pick true', 'head', 'status 0']);
  });

  it('a filter that rejects ends the RPC with its status as it is', async () => {
    await listen(createEchoServer({}));
    const metadata = new grpc.Metadata();
    metadata.set('x-why', 'contract');
    const filter = {
      createFilter: () => filter,
      sendMetadata: () => Promise.reject({ code: 5, details: 'none', metadata } as unknown as Error),
      receiveMetadata: <T>(one: T) => one,
      sendMessage: <T>(one: T) => one,
      receiveMessage: <T>(one: T) => one,
      receiveTrailers: <T>(one: T) => one,
    };
    const error = await fault(client({ invoke: () => ({ dynamicFilterFactories: [filter] }) }).unary('x'));
    expect(error).toMatchObject({ code: 5, details: 'none' });
    expect(error.metadata.get('x-why')).toEqual(['contract']);
  });

  it('an attempt needs of its subchannel what we give it, and its listener sees the status of the wire', async () => {
    await listen(createEchoServer({}));
    const seen: unknown[] = [];
    const made = client({
      invoke: () => ({}),
      pick: (_args, subchannel) => {
        const wrapped: AttemptSubchannel = {
          getConnectivityState: () => subchannel.getConnectivityState(),
          getCallCredentials: () => subchannel.getCallCredentials(),
          getChannelzRef: () => subchannel.getChannelzRef(),
          getAddress: () => subchannel.getAddress(),
          getRealSubchannel: () => ({
            createCall(metadata, host, method, listener, id) {
              seen.push(host, method);
              const own: AttemptListener = {
                onReceiveMetadata: (head) => (seen.push('head'), listener.onReceiveMetadata(head)),
                onReceiveMessage: (message: Buffer) => listener.onReceiveMessage(message),
                onReceiveStatus: (status) => (seen.push(status.code), listener.onReceiveStatus(status)),
              };
              const call = subchannel.getRealSubchannel().createCall(metadata, host, method, own, id);
              onHalfClose(call, () => seen.push('sent'));
              return call;
            },
          }),
        };
        return toPickResult({ ...complete(subchannel), subchannel: wrapped });
      },
    });
    expect(await made.collect(['a', 'b'])).toBe('a,b');
    expect(seen).toEqual(['contract', path('Client'), 'sent', 'head', 0]);
  });

  it('a negative pushback in the trailers of an attempt stops retries; others carry their number', async () => {
    const numbers: unknown[] = [];
    await listen(
      createEchoServer({
        Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
          numbers.push(call.metadata.get('grpc-previous-rpc-attempts')[0]);
          const metadata = new grpc.Metadata();
          if (numbers.length === 3) metadata.set('grpc-retry-pushback-ms', '-1');
          done({ code: 14, details: String(numbers.length), metadata });
        },
      }),
    );
    const retryPolicy = {
      maxAttempts: 5,
      initialBackoff: '0.001s',
      maxBackoff: '0.001s',
      backoffMultiplier: 1,
      retryableStatusCodes: [14],
    };
    const made = client({ invoke: () => ({ methodConfig: { name: [], retryPolicy } }) });
    expect(await fault(made.unary('x'))).toMatchObject({ details: '3' });
    expect(numbers).toEqual([undefined, '1', '2']);
  });

  it("a caller's handle ends its RPC with any status, also while it waits for a connection", async () => {
    await listen(createEchoServer({ Unary: () => {} }));
    const handles: grpc.CallProperties<unknown, unknown>['call'][] = [];
    const made = client(
      { invoke: () => ({}) },
      {
        callInvocationTransformer: (properties) => {
          handles.push(properties.call);
          return properties;
        },
      },
    );
    const waiting = fault(made.unary('x'));
    handles[0]?.call?.cancelWithStatus(4, 'ours');
    expect(await waiting).toMatchObject({ code: 4, details: 'ours' });
    const bidi = made.bidi();
    bidi.write('1');
    await once(bidi, 'data');
    handles[1]?.call?.cancelWithStatus(8, 'ours');
    const [error] = (await once(bidi, 'error')) as [grpc.ServiceError];
    expect(error).toMatchObject({ code: 8, details: 'ours' });
  });
});

describe('statuses of broken attempts', () => {
  const statusOf = async (): Promise<{ isReset: boolean; isRefused: boolean; code: number }> => {
    let found = { isReset: false, isRefused: false, code: 0 };
    const made = client({
      invoke: () => ({}),
      pick: (_args, subchannel) => {
        const real = subchannel.getRealSubchannel();
        const wrapped: AttemptSubchannel = {
          getConnectivityState: () => subchannel.getConnectivityState(),
          getCallCredentials: () => subchannel.getCallCredentials(),
          getChannelzRef: () => subchannel.getChannelzRef(),
          getAddress: () => subchannel.getAddress(),
          getRealSubchannel: () => ({
            createCall: (metadata, host, method, listener, id) =>
              real.createCall(
                metadata,
                host,
                method,
                {
                  onReceiveMetadata: (head) => listener.onReceiveMetadata(head),
                  onReceiveMessage: (message: Buffer) => listener.onReceiveMessage(message),
                  onReceiveStatus: (status) => {
                    if (found.code === 0)
                      found = { isReset: isReset(status), isRefused: isRefused(status), code: status.code };
                    listener.onReceiveStatus(status);
                  },
                },
                id,
              ),
          }),
        };
        return toPickResult({ ...complete(subchannel), subchannel: wrapped });
      },
    });
    await made.unary('x').catch(() => {});
    return found;
  };

  it('a connection that breaks, a reset and a refusal can be told from what a server says', async () => {
    await listenRaw((stream) => stream.session?.destroy());
    expect(await statusOf()).toMatchObject({ isReset: true, isRefused: false });
    await listenRaw((stream) => stream.close(2));
    expect(await statusOf()).toMatchObject({ isReset: true, isRefused: false });
    await listenRaw((stream) => stream.close(7));
    expect(await statusOf()).toMatchObject({ isRefused: true, code: 14 });
    await listenRaw((stream) =>
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '14', 'grpc-message': 'busy' },
        { endStream: true },
      ),
    );
    expect(await statusOf()).toEqual({ isReset: false, isRefused: false, code: 14 });
    await listenRaw((stream) => stream.respond({ ':status': 503 }, { endStream: true }));
    expect(await statusOf()).toEqual({ isReset: false, isRefused: false, code: 14 });
  });
});

describe('calls of a server', () => {
  it('an interceptor finds the metadata that the handler gets, and the listener that runs it', async () => {
    const seen: unknown[] = [];
    const server = createEchoServer({
      Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
        seen.push(call.metadata === seen[0]);
        done(null, 'ok');
      },
    });
    addInterceptor(server, (_method, call) => {
      seen.push(metadataOf(call));
      onStart(call, (listener) => {
        const { onReceiveHalfClose } = listener;
        listener.onReceiveHalfClose = () => {
          seen.push('whole');
          onReceiveHalfClose.call(listener);
        };
      });
      return call as grpc.ServerInterceptingCall;
    });
    await listen(server);
    expect(await client({ invoke: () => ({}) }).unary('x')).toBe('ok');
    expect(seen.slice(1)).toEqual(['whole', true]);
  });
});
