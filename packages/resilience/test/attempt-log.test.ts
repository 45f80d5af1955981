import { MeshError, type NoRetryReason, noRetryReasons, type RetryReason, retryReasons } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import {
  type CallSetup,
  createCall,
  createCluster,
  createState,
  endpoints,
  FakeCall,
  found,
  type TestCluster,
} from './support.js';

function create({ rules, ...options }: CallSetup = {}): ReturnType<typeof createCall> & {
  readonly log: NonNullable<FakeCall['attemptLog']>;
} {
  const made = createCall({ isLogged: true, rules: { outlier: undefined, ...rules }, ...options });
  return { ...made, log: found(made.call.attemptLog) };
}

const unsent = { reached: 'no', retry: 'elsewhere' } as const;
const on5xx = { conditions: ['5xx'], maxAttempts: 2 } as const;

describe('the log of attempts', () => {
  it('tells of each attempt where it went, what came of it, how long it took, and the wait after it', async () => {
    const { cluster, call, log } = create({ retry: on5xx });
    call.begin();
    await cluster.runtime.advance(7);
    call.last.sent().head(503);
    await cluster.runtime.advance(10);
    call.last.sent();
    await cluster.runtime.advance(3);
    call.last.head(200);
    call.last.end();
    log.end(undefined);
    const [first, second] = call.attempts.map(({ endpoint }) => endpoint.key);
    expect(log).toMatchObject({
      notRetried: undefined,
      attempts: [
        {
          endpoint: first,
          usableEndpoints: 3,
          allEndpoints: 3,
          startedMs: 0,
          durationMs: 7,
          httpStatus: 503,
          error: undefined,
          reached: 'maybe',
          retried: '5xx',
          waitedMs: 10,
          notRetried: undefined,
        },
        {
          endpoint: second,
          startedMs: 17,
          durationMs: 3,
          httpStatus: 200,
          retried: undefined,
          waitedMs: undefined,
        },
      ],
    });
    expect(second).not.toBe(first);
  });

  it('says how many endpoints were left to choose from', () => {
    const { cluster, call, log } = create({ rules: { outlier: undefined } });
    expect(cluster.state.usableCount).toBe(3);
    call.begin();
    expect(log.attempts).toMatchObject([{ usableEndpoints: 3, allEndpoints: 3 }]);
    const ejecting = createState(createCluster(endpoints(4)));
    const [one] = ejecting.state.endpoints;
    for (let i = 0; i < 5; i++) ejecting.state.onResult(found(one), 'local-error', undefined, 0);
    const later = new FakeCall(ejecting, { isLogged: true }).begin();
    expect(later.attemptLog?.attempts).toMatchObject([{ usableEndpoints: 3, allEndpoints: 4 }]);
  });
});

type Play = (call: FakeCall, cluster: TestCluster) => Promise<void> | void;
const answer =
  (status: number, headers?: Readonly<Record<string, string>>): ((call: FakeCall) => void) =>
  (call) =>
    void call.last.sent().head(status, headers);
const breakOff: Play = (call) => call.last.sent().fail('INMESH_ERR_CONNECTION_LOST');
const refuseConnection: Play = (call) => call.last.fail('INMESH_ERR_CONNECT_FAILED', unsent);
const nack = answer(503, { 'x-inmesh-nack': '1' });

describe('why an attempt was followed by another', () => {
  it.each<[RetryReason, CallSetup, Play, string]>([
    ['5xx', { retry: { conditions: ['5xx'] } }, answer(500), 'maybe'],
    ['5xx', { retry: { conditions: ['5xx'] } }, breakOff, 'maybe'],
    ['gateway-error', { retry: { conditions: ['gateway-error'] } }, answer(502), 'maybe'],
    ['retriable-4xx', { retry: { conditions: ['retriable-4xx'] } }, answer(409), 'maybe'],
    [
      'retriable-status-codes',
      { retry: { conditions: ['retriable-status-codes'], statusCodes: [418] } },
      answer(418),
      'maybe',
    ],
    [
      'retriable-headers',
      { retry: { conditions: ['retriable-headers'], replyHeaders: [{ name: 'x-again', present: true }] } },
      answer(404, { 'x-again': '1' }),
      'maybe',
    ],
    [
      'envoy-ratelimited',
      { retry: { conditions: ['envoy-ratelimited'] } },
      answer(429, { 'x-envoy-ratelimited': '1' }),
      'maybe',
    ],
    ['reset', {}, breakOff, 'maybe'],
    [
      'reset',
      { retry: { perTryTimeoutMs: 5 } },
      (call, { runtime }) => {
        call.last.sent();
        return runtime.advance(5);
      },
      'maybe',
    ],
    ['classifier', { route: { classify: () => 'retryable' } }, answer(200), 'maybe'],
    ['unsent', {}, refuseConnection, 'no'],
    ['connect-failure', { count: 1, retry: { conditions: ['connect-failure'] } }, refuseConnection, 'no'],
    [
      'reset-before-request',
      { count: 1, retry: { conditions: ['reset-before-request'] } },
      refuseConnection,
      'no',
    ],
    ['not-processed', { isIdempotent: false }, nack, 'refused'],
  ])('%s: %o', async (reason, setup, play, reached) => {
    const { cluster, call, log } = create(setup);
    call.begin();
    await play(call, cluster);
    await cluster.runtime.advance(10);
    expect(call.attempts).toHaveLength(2);
    expect(log.attempts).toMatchObject([
      { retried: reason, notRetried: undefined, reached, waitedMs: expect.any(Number) },
      { retried: undefined, reached: 'no' },
    ]);
  });

  it('refused-stream, once the free try is spent', async () => {
    const { cluster, call, log } = create({ retry: { conditions: ['refused-stream'] } });
    call.begin();
    for (let i = 0; i < 2; i++) {
      nack(call);
      await cluster.runtime.advance(10);
    }
    expect(log.attempts.map(({ retried }) => retried)).toEqual([
      'not-processed',
      'refused-stream',
      undefined,
    ]);
  });
});

describe('why a call was not retried', () => {
  const twice: Play = async (call, cluster) => {
    answer(503)(call);
    await cluster.runtime.advance(10);
    answer(503)(call);
  };
  it.each<[NoRetryReason, CallSetup, Play]>([
    ['no-condition', {}, answer(500)],
    ['no-condition', {}, answer(404)],
    ['no-condition', { retry: { conditions: ['connect-failure'] } }, breakOff],
    ['no-condition', { count: 1, retry: { conditions: [] } }, refuseConnection],
    ['classifier', { route: { classify: () => 'failure' }, retry: on5xx }, answer(503)],
    ['classifier', { route: { classify: () => 'success' }, retry: on5xx }, answer(503)],
    ['not-idempotent', { isIdempotent: false }, breakOff],
    ['not-idempotent', { isIdempotent: false, retry: on5xx }, answer(503)],
    ['retry-of-caller', { isRetryOfCaller: true }, breakOff],
    ['retry-of-caller', { isRetryOfCaller: true, retry: on5xx }, answer(503)],
    ['body-not-kept', { isReplayable: false }, breakOff],
    ['body-not-kept', { isReplayable: false, retry: on5xx }, answer(503)],
    ['forbidden-by-peer', { retry: on5xx }, answer(503, { 'x-inmesh-no-retry': '1' })],
    ['retry-after', { retry: on5xx }, answer(503, { 'retry-after': '86400' })],
    ['attempts-used-up', { retry: on5xx }, twice],
    ['retries-off', { retry: { ...on5xx, maxAttempts: 1 } }, answer(503)],
    ['deadline', { retry: on5xx, deadlineMs: 5 }, answer(503)],
    ['deadline', { deadlineMs: 5 }, (_call, { runtime }) => runtime.advance(5)],
    ['deadline', { route: { headTimeoutMs: 5 } }, (_call, { runtime }) => runtime.advance(5)],
    ['budget-empty', { retry: on5xx, rules: { retryBudget: { capacity: 0, perSuccess: 0 } } }, answer(503)],
    [
      'retry-concurrency',
      { retry: on5xx, rules: { retryConcurrency: { budgetPercent: 0, minRetries: 0 } } },
      answer(503),
    ],
    ['overflow', {}, (call) => call.last.fail('INMESH_ERR_OVERFLOW')],
    ['final-failure', {}, (call) => call.last.sent().fail('INMESH_ERR_BODY_FAILED')],
    [
      'delivered',
      {},
      (call) => {
        call.last.sent().head(200);
        call.last.fail('INMESH_ERR_CONNECTION_LOST');
      },
    ],
    [
      'no-endpoint',
      { retry: on5xx },
      async (call, cluster) => {
        answer(503)(call);
        cluster.state.configure(createCluster([], { outlier: undefined }));
        await cluster.runtime.advance(10);
      },
    ],
  ])('%s: %o', async (reason, setup, play) => {
    const { cluster, call, log } = create(setup);
    call.begin();
    await play(call, cluster);
    expect(log.notRetried).toBe(reason);
    expect(log.attempts.at(-1)).toMatchObject({ retried: undefined, notRetried: reason });
    expect(log.attempts.slice(0, -1).every(({ notRetried }) => notRetried === undefined)).toBe(true);
  });

  it.each([
    ['overflow', { rules: { limits: { maxRequests: 0, maxPending: 1, maxConnections: 1 } } }],
    ['no-endpoint', { count: 0 }],
    ['deadline', { deadlineMs: 0 }],
  ] satisfies [NoRetryReason, CallSetup][])('%s, although there was no attempt', (reason, setup) => {
    const { call, log } = create(setup);
    call.begin();
    expect([log.attempts, log.notRetried]).toEqual([[], reason]);
  });

  it.each([
    ['while it is under way', false],
    ['while its reply comes', true],
    ['before the next one', undefined],
  ])('cancelled %s', (_when, hasHead) => {
    const { call, log } = create({ retry: on5xx });
    call.begin().last.sent();
    if (hasHead !== false) call.last.head(hasHead === true ? 200 : 503);
    const reason = new MeshError('INMESH_ERR_CANCELLED', 'the caller left');
    log.end(reason.code, 'cancelled');
    call.driver.cancel(reason);
    log.end(reason.code);
    expect(log.attempts).toMatchObject([{ reached: 'maybe', retried: undefined, notRetried: 'cancelled' }]);
  });
});

it('has a sentence for every name, and names nothing both ways but the classifier', () => {
  const names = [...Object.keys(retryReasons), ...Object.keys(noRetryReasons)];
  for (const text of [...Object.values(retryReasons), ...Object.values(noRetryReasons)])
    expect(text).toMatch(/^[A-Z].*\.$/s);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual(['cancelled', 'classifier']);
});
