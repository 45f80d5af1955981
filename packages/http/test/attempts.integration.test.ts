import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Readable } from 'node:stream';
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
import { request as dispatch } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { calls, foreign, type Handler, text } from './foreign.js';
import { type TestClient, TestMesh } from './harness.js';

type Options = NonNullable<Parameters<TestMesh['client']>[1]>;

const quick = { backoff: { baseMs: 1, maxMs: 2 } } as const;
const on5xx = calls({}, { ...quick, conditions: ['5xx'] });
const once503 = calls({}, { ...quick, conditions: ['5xx'], maxAttempts: 2 });
const reset: Handler = (request) => void request.socket.destroy();

describe('what comes of the attempts of a call over HTTP', () => {
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
  const make = async (ports: readonly number[], options: Options = {}): Promise<TestClient> => {
    const client = await mesh.client(
      { orders: ports },
      {
        keepsAttempts: () => true,
        ...options,
        layers: [watch, ...(options.layers ?? [])],
        rules: { outlier: undefined, ...options.rules },
      },
    );
    clients.push(client);
    return client;
  };
  /** Attempts that were counted: reason and result of each. */
  const counted = (): readonly (readonly string[])[] =>
    clients
      .flatMap(({ state }) => [...state('orders').attemptCounts])
      .flatMap(({ reason = '', result, count }) => Array.from({ length: count }, () => [reason, result]));
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise(setImmediate);
  };
  /** Calls, whatever comes of it, and tells what came of its attempts. */
  const notesOf = async (run: () => Promise<unknown> | undefined): Promise<AttemptNotes> => {
    const count = ended.length;
    await run()?.catch(() => {});
    await until(() => ended.length > count);
    const notes = ended.at(-1);
    if (notes === undefined) throw new Error('nobody noted anything');
    // Each of them is counted, once, by why it was made.
    const made = ended.flatMap((one) => one?.attempts.map((_one, i, all) => all[i - 1]?.retried ?? '') ?? []);
    expect(
      counted()
        .map(([reason]) => reason)
        .toSorted(),
    ).toEqual(made.toSorted());
    return notes;
  };
  const get = async (client: TestClient, init?: RequestInit): Promise<void> => {
    await (await client.fetch('http://orders/', init)).text();
  };
  const post = (client: TestClient, init: RequestInit = {}): Promise<void> =>
    get(client, { method: 'POST', body: 'x', ...init });
  /** A server whose first replies are by `first`, and all others well. */
  const failing = async (first: Handler, times = Number.POSITIVE_INFINITY): Promise<number> => {
    let count = 0;
    const well = text('ok');
    return (await foreign(mesh, (...args) => (++count <= times ? first : well)(...args))).port;
  };
  /** A port where nobody listens. */
  const closedPort = async (): Promise<number> => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    return port;
  };

  it('is noted in order, by fetch and by the dispatcher, and not at all where nobody wants to know', async () => {
    const port = await failing(text('busy', 503), 1);
    let isOn = true;
    const client = await make([port], { calls: on5xx, keepsAttempts: () => isOn });
    const { attempts, notRetried } = await notesOf(() => get(client));
    expect(attempts).toMatchObject([
      {
        endpoint: `127.0.0.1:${port}`,
        usableEndpoints: 1,
        allEndpoints: 1,
        httpStatus: 503,
        error: undefined,
        reached: 'maybe',
        retried: '5xx',
        notRetried: undefined,
      },
      { httpStatus: 200, reached: 'maybe', retried: undefined, waitedMs: undefined, notRetried: undefined },
    ] satisfies Partial<AttemptNote>[]);
    const [first, second] = attempts;
    expect(second?.startedMs).toBeCloseTo(
      (first?.startedMs ?? 0) + (first?.durationMs ?? 0) + (first?.waitedMs ?? Number.NaN),
      6,
    );
    expect(notRetried).toBeUndefined();
    const { dispatcher } = client;
    expect(
      await notesOf(() => dispatch('http://orders/', { dispatcher }).then(({ body }) => body.text())),
    ).toMatchObject({ attempts: [{ httpStatus: 200 }] });
    isOn = false;
    await get(client);
    await until(() => ended.length === 3);
    expect(ended.at(-1)).toBeUndefined();
  });

  it.each<[RetryReason, Handler, Options, Partial<AttemptNote>]>([
    ['5xx', text('', 500), { calls: on5xx }, { httpStatus: 500 }],
    ['reset', reset, {}, { error: 'INMESH_ERR_CONNECTION_LOST', httpStatus: undefined }],
    [
      'reset',
      () => {},
      { calls: calls({}, { ...quick, perTryTimeoutMs: 2000 }) },
      { error: 'INMESH_ERR_ATTEMPT_TIMEOUT' },
    ],
    [
      'retriable-status-codes',
      text('', 418),
      { calls: calls({}, { ...quick, statusCodes: [418] }) },
      { httpStatus: 418 },
    ],
    [
      'classifier',
      text('', 404),
      {
        calls: {
          ...calls({}, quick),
          classify: ({ httpStatus }) => (httpStatus === 404 ? 'retryable' : undefined),
        },
      },
      { httpStatus: 404 },
    ],
    ['not-processed', text('', 503, { 'x-inmesh-nack': '1' }), {}, { httpStatus: 503, reached: 'refused' }],
  ])('is retried for %s', async (reason, handler, options, expected) => {
    const client = await make([await failing(handler, 1)], options);
    const { attempts } = await notesOf(() => get(client));
    expect(attempts).toMatchObject([
      { retried: reason, reached: 'maybe', ...expected },
      { httpStatus: 200, retried: undefined },
    ]);
  });

  it('is retried at once where it never left, and then by the condition, whatever the method', async () => {
    const ports = [await closedPort(), await closedPort(), await closedPort(), await closedPort()];
    const client = await make(ports, { calls: calls({}, quick) });
    const { attempts, notRetried } = await notesOf(() => post(client));
    const failed = { error: 'INMESH_ERR_CONNECT_FAILED', reached: 'no' };
    expect(attempts).toMatchObject([
      { ...failed, retried: 'unsent' },
      { ...failed, retried: 'unsent' },
      { ...failed, retried: 'connect-failure' },
      { ...failed, retried: 'connect-failure' },
      { ...failed, retried: undefined, notRetried: 'attempts-used-up' },
    ]);
    expect(notRetried).toBe('attempts-used-up');
  });

  const half: Handler = (_request, response) => void response.writeHead(200).write('half');
  const broken: Handler = (_request, response) => {
    response.writeHead(200).write('half');
    setImmediate(() => response.destroy());
  };
  const answer = (): Handler => text('ok');
  it.each<[CountedResult, string, () => Handler, Options, ((client: TestClient) => Promise<unknown>)?]>([
    ['ok', 'a reply', answer, {}],
    ['ok', 'a 404', () => text('', 404), {}],
    ['error', 'a 500', () => text('', 500), {}],
    ['error', 'a classifier', answer, { calls: { ...calls({}, quick), classify: () => 'failure' } }],
    ['gateway-error', 'a 503', () => text('', 503), {}],
    ['unknown', 'a 429', () => text('', 429), {}],
    ['local-error', 'a reset', () => reset, { calls: calls({}, { conditions: [] }) }],
    ['local-error', 'a reply that breaks', () => broken, {}],
    ['local-error', 'the deadline', () => () => {}, { calls: calls({ timeoutMs: 100 }) }],
    ['local-error', 'the time to the head', () => () => {}, { calls: calls({ headTimeoutMs: 100 }) }],
    ['ok', 'the deadline of a reply', () => half, { calls: calls({ timeoutMs: 100 }) }],
    [
      'ok',
      'a caller that leaves a reply',
      () => half,
      {},
      async (client) => (await client.fetch('http://orders/')).body?.cancel(),
    ],
    [
      'cancelled',
      'a caller that leaves',
      () => () => {},
      {},
      async (client) => {
        const leaving = new AbortController();
        const left = get(client, { signal: leaving.signal });
        await until(() => (client.state('orders').endpoints[0]?.active ?? 0) > 0);
        leaving.abort();
        await left;
      },
    ],
  ])(
    'counts as %s: %s, also where nobody wants to know',
    async (result, _what, handler, options, call = get) => {
      const client = await make([await failing(handler())], { keepsAttempts: () => false, ...options });
      await call(client).catch(() => {});
      await until(() => ended.length === 1);
      expect([ended, counted()]).toEqual([[undefined], [['', result]]]);
    },
  );

  it('tells of a call whose attempts are used up, also where nobody wants to know', async () => {
    const reached: unknown[] = [];
    const limit: Layer = {
      role: 'limit',
      scope: 'call',
      why: 'sees what comes of it',
      bind: () => ({ end: (_call, { isRetryLimitReached }) => void reached.push(isRetryLimitReached) }),
    };
    const client = await make([await failing(text('', 503), 3)], {
      calls: once503,
      layers: [limit],
      keepsAttempts: () => false,
    });
    await get(client);
    await get(client);
    await until(() => reached.length === 2);
    expect(counted().toSorted()).toEqual([
      ['', 'gateway-error'],
      ['', 'gateway-error'],
      ['5xx', 'gateway-error'],
      ['5xx', 'ok'],
    ]);
    const spent = await make([await failing(text('', 503))], {
      calls: once503,
      layers: [limit],
      rules: { retryBudget: { capacity: 0, perSuccess: 0 } },
    });
    await get(spent);
    await until(() => reached.length === 3);
    expect(reached).toEqual([true, false, false]);
  });

  const streamed = (bytes: number): RequestInit =>
    ({
      method: 'PUT',
      duplex: 'half',
      body: new ReadableStream({
        start(controller) {
          controller.enqueue(new Uint8Array(bytes));
          controller.close();
        },
      }),
    }) as RequestInit;
  const afterBody: Handler = (request) => void request.resume().on('end', () => request.socket.destroy());

  interface Refusal {
    readonly reason: NoRetryReason;
    readonly handler: Handler;
    readonly options?: Options;
    readonly call?: (client: TestClient) => Promise<void>;
    readonly attempts?: number;
  }
  it.each<Refusal>([
    { reason: 'no-condition', handler: text('', 500) },
    {
      reason: 'no-condition',
      handler: reset,
      options: { calls: calls({}, { conditions: ['unavailable'] }) },
    },
    { reason: 'not-idempotent', handler: afterBody, call: post },
    { reason: 'not-idempotent', handler: text('', 503), options: { calls: on5xx }, call: post },
    { reason: 'body-not-kept', handler: afterBody, call: (client) => get(client, streamed(100_000)) },
    { reason: 'attempts-used-up', handler: text('', 503), options: { calls: once503 }, attempts: 2 },
    {
      reason: 'retries-off',
      handler: text('', 503),
      options: { calls: calls({}, { conditions: ['5xx'], maxAttempts: 1 }) },
    },
    {
      reason: 'budget-empty',
      handler: text('', 503),
      options: { calls: on5xx, rules: { retryBudget: { capacity: 1, perSuccess: 0 } } },
      attempts: 2,
    },
    {
      reason: 'retry-concurrency',
      handler: text('', 503),
      options: { calls: on5xx, rules: { retryConcurrency: { budgetPercent: 0, minRetries: 0 } } },
    },
    {
      reason: 'deadline',
      handler: text('', 503, { 'retry-after': '60' }),
      options: { calls: { ...on5xx, timeoutMs: 20_000 } },
    },
    { reason: 'deadline', handler: () => {}, options: { calls: calls({ timeoutMs: 100 }) } },
    { reason: 'deadline', handler: () => {}, options: { calls: calls({ headTimeoutMs: 100 }) } },
    { reason: 'retry-after', handler: text('', 503, { 'retry-after': '86400' }), options: { calls: on5xx } },
    {
      reason: 'forbidden-by-peer',
      handler: text('', 503, { 'x-inmesh-no-retry': '1' }),
      options: { calls: on5xx },
    },
    {
      reason: 'classifier',
      handler: text('', 503),
      options: { calls: { ...on5xx, classify: () => 'failure' } },
    },
    {
      reason: 'delivered',
      handler: (_request, response) => {
        response.writeHead(200).write('half');
        setImmediate(() => response.destroy());
      },
    },
    {
      reason: 'final-failure',
      handler: text('ok'),
      call: async ({ dispatcher }) => {
        const body = Readable.from(
          (async function* () {
            yield 'x';
            throw new Error('of the body');
          })(),
        );
        await dispatch('http://orders/', { dispatcher, method: 'PUT', body });
      },
    },
  ])('is not retried: $reason', async ({ reason, handler, options = {}, call = get, attempts = 1 }) => {
    const client = await make([await failing(handler)], options);
    const notes = await notesOf(() => call(client));
    expect(notes.notRetried).toBe(reason);
    expect(notes.attempts).toHaveLength(attempts);
    expect(notes.attempts.at(-1)).toMatchObject({ retried: undefined, notRetried: reason });
    for (const { retried } of notes.attempts.slice(0, -1)) expect(retried).toBe('5xx');
  });

  it('is not retried: cancelled, by the caller, in a reply, and by a layer', async () => {
    const held = await make([await failing(() => {})]);
    const leaving = new AbortController();
    const left = notesOf(() => get(held, { signal: leaving.signal }));
    await until(() => (held.state('orders').endpoints[0]?.active ?? 0) > 0);
    leaving.abort();
    const sawOff = { error: 'INMESH_ERR_CANCELLED', notRetried: 'cancelled' };
    expect((await left).attempts).toMatchObject([{ ...sawOff, httpStatus: undefined }]);

    const port = await failing((_request, response) => void response.writeHead(200).write('half'));
    const half = await make([port]);
    const reply = await half.fetch('http://orders/');
    expect((await notesOf(() => reply.body?.cancel())).attempts).toMatchObject([
      { ...sawOff, httpStatus: 200, reached: 'maybe' },
    ]);
    const refusing = new MeshError('INMESH_ERR_AUTHZ_DENIED', 'revoked');
    const strict = await make([await failing(() => {})], {
      layers: [
        {
          role: 'strict',
          scope: 'call',
          why: 'ends it',
          bind: () => ({ request: (call) => void setImmediate(() => call.cancel(refusing)) }),
        },
      ],
    });
    expect(await notesOf(() => get(strict))).toMatchObject({
      attempts: [{ error: 'INMESH_ERR_AUTHZ_DENIED' }],
      notRetried: 'cancelled',
    });
  });

  it('is not retried: overflow and no-endpoint, also without an attempt', async () => {
    const limits = { maxConnections: 9, maxPending: 9, maxRequests: 0 };
    const full = await make([await failing(text('ok'))], { rules: { limits } });
    expect(await notesOf(() => get(full))).toMatchObject({ attempts: [], notRetried: 'overflow' });
    const nowhere = await make([]);
    expect(await notesOf(() => get(nowhere))).toMatchObject({ attempts: [], notRetried: 'no-endpoint' });
    const crowded = await make([await failing(() => {})], {
      rules: { limits: { maxConnections: 1, maxPending: 0, maxRequests: 9 } },
      connections: 1,
    });
    void get(crowded).catch(() => {});
    await until(() => crowded.state('orders').connections === 1);
    expect(await notesOf(() => get(crowded))).toMatchObject({
      attempts: [{ error: 'INMESH_ERR_OVERFLOW', reached: 'no' }],
      notRetried: 'overflow',
    });
  });

  it('is not retried: retry-of-caller, in the handler of a call that is a repetition', async () => {
    const context = new CallContext();
    const client = await make([await failing(reset)], { context });
    const parent = new CallState({
      side: 'server',
      protocol: 'http1',
      facts: {
        method: 'GET',
        path: '/',
        authority: 'web',
        connection: { ...unknownConnection, peer: { id: { uri: 'spiffe://a.test/x' } } as never },
      },
      headers: new FlatHeaders(['x-envoy-attempt-count', '2']),
      startedMs: 0,
      onCancel: () => {},
    });
    await retryGuard().bind({ side: 'server' })?.request?.(parent);
    const { notRetried } = await notesOf(() => context.run(parent, () => get(client)));
    expect(notRetried).toBe('retry-of-caller');
  });
});
