import { once } from 'node:events';
import { constants, createSecureServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import {
  type AttemptNote,
  type AttemptNotes,
  CallContext,
  CallState,
  FlatHeaders,
  type Layer,
  MeshError,
  type NoRetryReason,
  type RetryReason,
  unknownConnection,
} from '@inmesh/core';
import { type CountedResult, retryGuard } from '@inmesh/resilience';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ClientOptions,
  failing,
  idempotent,
  retried,
  type TestClient,
  TestMesh,
  type Unary,
} from './harness.js';

const { status } = grpc;

describe('what comes of the attempts of an RPC', () => {
  let mesh: TestMesh;
  let ended: (AttemptNotes | undefined)[];
  let clients: TestClient[];
  beforeEach(async () => {
    mesh = await TestMesh.start();
    ended = [];
    clients = [];
  });
  afterEach(() => mesh.close());

  const watch: Layer = {
    role: 'watch',
    scope: 'call',
    why: 'sees what comes of it',
    bind: () => ({ end: (_call, { attemptNotes }) => void ended.push(attemptNotes) }),
  };
  const make = async (ports: readonly number[], options: ClientOptions = {}): Promise<TestClient> => {
    const client = await mesh.client(ports, {
      keepsAttempts: () => true,
      rules: retried(),
      channel: idempotent,
      ...options,
      layers: [watch, ...(options.layers ?? [])],
      clusterRules: { outlier: undefined, ...options.clusterRules },
    });
    clients.push(client);
    return client;
  };
  /** Attempts that were counted: reason and result of each. */
  const counted = (): readonly (readonly string[])[] =>
    clients
      .flatMap((client) => [...client.cluster().attemptCounts])
      .flatMap(({ reason = '', result, count }) => Array.from({ length: count }, () => [reason, result]));
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise(setImmediate);
  };
  const notesOf = async (run: () => Promise<unknown>): Promise<AttemptNotes> => {
    const count = ended.length;
    await run().catch(() => {});
    await until(() => ended.length > count);
    const notes = ended.at(-1);
    if (notes === undefined) throw new Error('nobody noted anything');
    // Each of them is counted, once, by why it was made; one that its caller left a moment later.
    const made = ended.flatMap((one) => one?.attempts.map((_one, i, all) => all[i - 1]?.retried ?? '') ?? []);
    await until(() => counted().length >= made.length);
    expect(
      counted()
        .map(([reason]) => reason)
        .toSorted(),
    ).toEqual(made.toSorted());
    return notes;
  };
  const serve = async (Unary: Unary): Promise<number> => (await mesh.serve({ Unary })).port;
  /** A server of node:http2 that does to each stream what `act` does. */
  const foreign = async (act: (stream: ServerHttp2Stream, count: number) => void): Promise<number> => {
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/echo');
    const server = createSecureServer({ cert: certPem, key: keyPem });
    const sockets = new Set<Socket>();
    let count = 0;
    server.on('secureConnection', (socket: Socket) => sockets.add(socket.on('error', () => {})));
    server.on('sessionError', () => {});
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      stream.resume().on('end', () => act(stream, ++count));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    mesh.cleanup(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  };
  const refuse = (stream: ServerHttp2Stream): void => stream.close(constants.NGHTTP2_REFUSED_STREAM);
  const reset = (stream: ServerHttp2Stream): void => stream.close(constants.NGHTTP2_INTERNAL_ERROR);

  it('is noted in order, and not at all where nobody wants to know', async () => {
    const port = await serve(failing(status.UNAVAILABLE, 1).Unary);
    let isOn = true;
    const { client } = await make([port], { keepsAttempts: () => isOn });
    const { attempts, notRetried } = await notesOf(() => client.unary('x'));
    expect(attempts).toMatchObject([
      {
        endpoint: `127.0.0.1:${port}`,
        usableEndpoints: 1,
        allEndpoints: 1,
        httpStatus: undefined,
        grpcStatus: 14,
        error: undefined,
        reached: 'maybe',
        retried: 'unavailable',
        notRetried: undefined,
      },
      { grpcStatus: 0, retried: undefined, waitedMs: undefined, notRetried: undefined },
    ] satisfies Partial<AttemptNote>[]);
    const [first, second] = attempts;
    expect(second?.startedMs).toBeCloseTo(
      (first?.startedMs ?? 0) + (first?.durationMs ?? 0) + (first?.waitedMs ?? Number.NaN),
      6,
    );
    expect(notRetried).toBeUndefined();
    isOn = false;
    await client.unary('x');
    await until(() => ended.length === 2);
    expect(ended.at(-1)).toBeUndefined();
  });

  it.each<[RetryReason, number, ClientOptions]>([
    ['cancelled', status.CANCELLED, {}],
    ['deadline-exceeded', status.DEADLINE_EXCEEDED, {}],
    ['internal', status.INTERNAL, {}],
    ['resource-exhausted', status.RESOURCE_EXHAUSTED, {}],
    ['classifier', status.ABORTED, { rules: { ...retried(), classify: () => 'retryable' } }],
  ])('is retried for %s', async (reason, code, options) => {
    const port = await serve(failing(code, 1).Unary);
    const rules = retried({ conditions: [reason === 'classifier' ? 'unavailable' : (reason as 'internal')] });
    const { client } = await make([port], { rules, ...options });
    const { attempts } = await notesOf(() => client.unary('x'));
    expect(attempts[0]).toMatchObject({ grpcStatus: code, error: undefined, retried: reason });
  });

  it('is retried for a reset, and for a per-try timeout', async () => {
    const broken = await make([await foreign(reset)], { rules: retried({ maxAttempts: 2 }) });
    const failed = { error: 'INMESH_ERR_CONNECTION_LOST', reached: 'maybe' };
    expect((await notesOf(() => broken.client.unary('x'))).attempts).toMatchObject([
      { ...failed, retried: 'reset' },
      { ...failed, notRetried: 'attempts-used-up' },
    ]);
    const slow = await make([await foreign(() => {})], {
      rules: retried({ perTryTimeoutMs: 50, maxAttempts: 2 }),
    });
    expect((await notesOf(() => slow.client.unary('x'))).attempts).toMatchObject([
      { error: 'INMESH_ERR_ATTEMPT_TIMEOUT', retried: 'reset' },
      { error: 'INMESH_ERR_ATTEMPT_TIMEOUT', notRetried: 'attempts-used-up' },
    ]);
  });

  it.each([
    ['a safe method', idempotent, 'attempts-used-up'],
    ['any other', {}, 'attempts-used-up'],
  ] as const)(
    'is retried where it was refused, by grpc-js and then by the condition: %s',
    async (_name, channel, last) => {
      const { client } = await make([await foreign(refuse)], { channel });
      const { attempts } = await notesOf(() => client.unary('x'));
      const failed = { error: 'INMESH_ERR_PEER_REFUSED', reached: 'refused' };
      expect(attempts).toMatchObject([
        { ...failed, retried: 'not-processed' },
        { ...failed, retried: 'refused-stream' },
        { ...failed, retried: 'refused-stream' },
        { ...failed, retried: undefined, notRetried: last },
      ]);
    },
  );

  it('is retried once by grpc-js where retries are off', async () => {
    const { client } = await make([await foreign(refuse)], { rules: retried({ maxAttempts: 1 }) });
    expect((await notesOf(() => client.unary('x'))).attempts).toMatchObject([
      { retried: 'not-processed' },
      { notRetried: 'retries-off' },
    ]);
    const never = await make([await foreign(refuse)], { grpc: { 'grpc.enable_retries': 0 } });
    expect((await notesOf(() => never.client.unary('x'))).attempts).toMatchObject([
      { reached: 'refused', retried: undefined, notRetried: 'retries-off' },
    ]);
  });

  type Act = (client: TestClient) => Promise<unknown>;
  const ask: Act = ({ client }) => client.unary('x');
  const read: Act = async ({ client }) => {
    for await (const _message of client.stream('x')) continue;
  };
  const open = (stream: ServerHttp2Stream): void => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.write(Buffer.from([0, 0, 0, 0, 1, 65]));
  };
  const status200 = (code: number) => (): Promise<number> => serve(failing(code).Unary);
  const leave: Act = async (client) => {
    const call = client.client.start('x', () => {});
    await until(() => (client.cluster().endpoints[0]?.active ?? 0) > 0);
    call.cancel();
  };
  it.each<[CountedResult, string, () => Promise<number>, Act, ClientOptions?]>([
    ['ok', 'a reply', () => serve((_call, done) => done(null, 'x')), ask],
    ['ok', 'a stream', async () => (await mesh.serve()).port, read],
    ['ok', 'a status that is none of its fault', status200(status.NOT_FOUND), ask],
    ['error', 'INTERNAL', status200(status.INTERNAL), ask],
    ['gateway-error', 'UNAVAILABLE', status200(status.UNAVAILABLE), ask],
    ['unknown', 'RESOURCE_EXHAUSTED', status200(status.RESOURCE_EXHAUSTED), ask],
    ['local-error', 'a reset', () => foreign(reset), ask],
    [
      'local-error',
      'a stream that breaks',
      () => foreign((stream) => (open(stream), setImmediate(() => reset(stream)))),
      read,
    ],
    [
      'local-error',
      'the deadline',
      () => foreign(() => {}),
      ask,
      { rules: { ...retried({ maxAttempts: 1 }), timeoutMs: 100 } },
    ],
    [
      'unknown',
      'the deadline of a stream',
      () => foreign(open),
      read,
      { rules: { ...retried({ maxAttempts: 1 }), timeoutMs: 100 } },
    ],
    ['cancelled', 'a caller that leaves', () => foreign(() => {}), leave],
  ])('counts as %s: %s, also where nobody wants to know', async (result, _what, port, call, given) => {
    const client = await make([await port()], {
      keepsAttempts: () => false,
      rules: retried({ maxAttempts: 1 }),
      ...given,
    });
    await call(client).catch(() => {});
    await until(() => ended.length === 1 && counted().length > 0);
    expect([ended, counted()]).toEqual([[undefined], [['', result]]]);
  });

  it('counts a stream when it ends, not when it begins', async () => {
    const client = await make([await foreign(open)], { keepsAttempts: () => false });
    const stream = client.client.stream('x').on('error', () => {});
    await once(stream, 'data');
    expect(counted()).toEqual([]);
    stream.cancel();
    await until(() => counted().length > 0);
    expect(counted()).toEqual([['', 'cancelled']]);
  });

  it('tells of an RPC whose attempts are used up, also where nobody wants to know', async () => {
    const reached: unknown[] = [];
    const limit: Layer = {
      role: 'limit',
      scope: 'call',
      why: 'sees what comes of it',
      bind: () => ({ end: (_call, { isRetryLimitReached }) => void reached.push(isRetryLimitReached) }),
    };
    const { client } = await make([await serve(failing(status.UNAVAILABLE, 3).Unary)], {
      rules: retried({ maxAttempts: 2 }),
      layers: [limit],
      keepsAttempts: () => false,
    });
    await client.unary('x').catch(() => {});
    await client.unary('x');
    await until(() => reached.length === 2);
    expect(reached).toEqual([true, false]);
    expect(counted().toSorted()).toEqual([
      ['', 'gateway-error'],
      ['', 'gateway-error'],
      ['unavailable', 'gateway-error'],
      ['unavailable', 'ok'],
    ]);
  });

  it('counts what grpc-js sends again of itself, with a policy and without one', async () => {
    for (const maxAttempts of [1, 2]) {
      const { client } = await make([await foreign(refuse)], {
        rules: retried({ maxAttempts }),
        keepsAttempts: () => false,
      });
      await client.unary('x').catch(() => {});
    }
    expect(counted().toSorted()).toEqual([
      ['', 'unknown'],
      ['', 'unknown'],
      ['not-processed', 'unknown'],
      ['not-processed', 'unknown'],
      ['refused-stream', 'unknown'],
    ]);
  });

  interface Refusal {
    readonly reason: NoRetryReason;
    readonly code?: number;
    readonly trailers?: Record<string, string>;
    readonly options?: ClientOptions;
    readonly call?: (client: TestClient) => Promise<unknown>;
    readonly attempts?: number;
  }
  const unary = ({ client }: TestClient): Promise<unknown> => client.unary('x');
  it.each<Refusal>([
    { reason: 'no-condition', code: status.NOT_FOUND },
    { reason: 'classifier', options: { rules: { ...retried(), classify: () => 'failure' } } },
    { reason: 'classifier', options: { rules: { ...retried(), classify: () => 'success' } } },
    { reason: 'not-idempotent', options: { channel: {} } },
    {
      reason: 'not-idempotent',
      options: { channel: {}, rules: retried({ conditions: ['unavailable'] }) },
    },
    { reason: 'body-not-kept', call: ({ client }) => client.unary('x'.repeat(2_000_000)) },
    { reason: 'attempts-used-up', options: { rules: retried({ maxAttempts: 2 }) }, attempts: 2 },
    { reason: 'retries-off', options: { rules: retried({ maxAttempts: 1 }) } },
    { reason: 'retries-off', options: { grpc: { 'grpc.enable_retries': 0 } } },
    {
      reason: 'budget-empty',
      options: { clusterRules: { retryBudget: { capacity: 1, perSuccess: 0 } } },
      attempts: 2,
    },
    {
      reason: 'retry-concurrency',
      options: { clusterRules: { retryConcurrency: { budgetPercent: 0, minRetries: 0 } } },
    },
    {
      reason: 'deadline',
      trailers: { 'grpc-retry-pushback-ms': '60000' },
      options: { rules: { ...retried(), timeoutMs: 20_000 } },
    },
    { reason: 'retry-after', trailers: { 'grpc-retry-pushback-ms': '86400000' } },
    { reason: 'forbidden-by-peer', trailers: { 'grpc-retry-pushback-ms': '-1' } },
  ])(
    'is not retried: $reason',
    async ({ reason, code = 14, trailers, options, call = unary, attempts = 1 }) => {
      const { Unary } = failing(code, undefined, trailers);
      const port = await serve(Unary);
      const client = await make([port], {
        grpc: { 'grpc.max_send_message_length': -1, ...options?.grpc },
        ...options,
      });
      const notes = await notesOf(() => call(client));
      expect(notes.notRetried).toBe(reason);
      expect(notes.attempts).toHaveLength(attempts);
      expect(notes.attempts.at(-1)).toMatchObject({
        grpcStatus: code,
        retried: undefined,
        notRetried: reason,
      });
      for (const { retried: why } of notes.attempts.slice(0, -1)) expect(why).toBe('unavailable');
    },
  );

  it('is not retried: delivered, of a stream that breaks after its head', async () => {
    const port = await foreign((stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      stream.write(Buffer.from([0, 0, 0, 0, 1, 65]));
      setImmediate(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    });
    const { client } = await make([port], { rules: { ...retried(), idempotent: true } });
    const notes = await notesOf(async () => {
      for await (const _message of client.stream('x')) continue;
    });
    expect(notes.attempts).toMatchObject([
      { error: 'INMESH_ERR_CONNECTION_LOST', reached: 'maybe', notRetried: 'delivered' },
    ]);
  });

  it('tells of a stream that the caller sends, too', async () => {
    const { port } = await mesh.serve({
      Client: (call: grpc.ServerReadableStream<string, string>, done: grpc.sendUnaryData<string>) =>
        void call.resume().on('end', () => done({ code: status.UNAVAILABLE })),
    });
    const { client } = await make([port], { rules: { ...retried({ maxAttempts: 2 }), idempotent: true } });
    expect((await notesOf(() => client.collect(['a', 'b']))).attempts).toMatchObject([
      { grpcStatus: 14, retried: 'unavailable' },
      { grpcStatus: 14, notRetried: 'attempts-used-up' },
    ]);
  });

  it('is not retried: deadline, and cancelled by the caller or by a layer', async () => {
    const silent = async (options: ClientOptions = {}): Promise<TestClient> =>
      await make([await foreign(() => {})], options);
    const head = await silent({ rules: { ...retried(), headTimeoutMs: 100 } });
    expect(await notesOf(() => head.client.unary('x'))).toMatchObject({
      attempts: [{ error: 'INMESH_ERR_HEAD_TIMEOUT', reached: 'maybe', notRetried: 'deadline' }],
    });
    const total = await silent({ rules: { ...retried(), timeoutMs: 300 } });
    expect(await notesOf(() => total.client.unary('x'))).toMatchObject({
      attempts: [{ error: 'INMESH_ERR_DEADLINE_EXCEEDED', notRetried: 'deadline' }],
    });
    const left = await silent();
    const leaving = notesOf(
      () =>
        new Promise((resolve) => {
          const call = left.client.start('x', resolve);
          void until(() => (left.cluster().endpoints[0]?.active ?? 0) > 0).then(() => call.cancel());
        }),
    );
    expect(await leaving).toMatchObject({
      attempts: [{ error: 'INMESH_ERR_CANCELLED', notRetried: 'cancelled' }],
    });
    const strict = await silent({
      layers: [
        {
          role: 'strict',
          scope: 'call',
          why: 'ends it',
          bind: () => ({
            request: (call) =>
              void until(() => call.connection !== undefined).then(() =>
                call.cancel(new MeshError('INMESH_ERR_AUTHZ_DENIED', 'revoked')),
              ),
          }),
        },
      ],
    });
    expect(await notesOf(() => strict.client.unary('x'))).toMatchObject({
      attempts: [{ reached: 'maybe', notRetried: 'cancelled' }],
    });
  });

  it('is not retried: overflow and no-endpoint, without an attempt', async () => {
    const limits = { maxConnections: 9, maxPending: 9, maxRequests: 0 };
    const full = await make([await serve((_call, done) => done(null, 'x'))], { clusterRules: { limits } });
    expect(await notesOf(() => full.client.unary('x'))).toMatchObject({
      attempts: [],
      notRetried: 'overflow',
    });
    const nowhere = await make([]);
    expect(await notesOf(() => nowhere.client.unary('x'))).toMatchObject({
      attempts: [],
      notRetried: 'no-endpoint',
    });
  });

  it('is not retried: no-endpoint, where what was to come had none', async () => {
    const port = await serve(failing(status.UNAVAILABLE).Unary);
    const made: TestClient[] = [];
    const backoff = (): number => {
      made[0]?.endpoints().set([]);
      return 0;
    };
    made.push(await make([port], { rules: retried({ backoff }) }));
    expect(await notesOf(() => unary(made[0] as TestClient))).toMatchObject({
      attempts: [{ grpcStatus: 14, retried: undefined, notRetried: 'no-endpoint' }],
    });
  });

  it('is not retried: retry-of-caller, in the handler of a call that is a repetition', async () => {
    const context = new CallContext();
    const { client } = await make([await serve(failing(status.UNAVAILABLE).Unary)], { context });
    const parent = new CallState({
      side: 'server',
      protocol: 'grpc',
      facts: {
        method: 'POST',
        path: '/a.B/C',
        authority: 'web',
        connection: { ...unknownConnection, peer: { id: { uri: 'spiffe://a.test/x' } } as never },
      },
      headers: new FlatHeaders(['grpc-previous-rpc-attempts', '1']),
      startedMs: 0,
      onCancel: () => {},
    });
    await retryGuard().bind({ side: 'server' })?.request?.(parent);
    const { notRetried } = await notesOf(() => context.run(parent, () => client.unary('x')));
    expect(notRetried).toBe('retry-of-caller');
  });
});
