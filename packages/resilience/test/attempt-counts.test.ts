import { MeshError, type RetryReason, retryReasons } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import { attemptResults, type CountedResult } from '../src/index.js';
import { counted, createCall, createCluster, createState, endpoints, FakeCall, failure } from './support.js';

const fiveHundreds = { conditions: ['5xx', 'reset'], maxAttempts: 2 } as const;
const left = failure('INMESH_ERR_CANCELLED');

describe('the counts of attempts', () => {
  const results = Object.keys(attemptResults) as CountedResult[];
  const reasons = [undefined, ...(Object.keys(retryReasons) as RetryReason[])];

  it('are those of each reason and result, and none where there was none', () => {
    const { state } = createState(createCluster(endpoints(1)));
    expect([...state.attemptCounts]).toEqual([]);
    const all = reasons.flatMap((reason) => results.map((result) => ({ reason, result })));
    for (const [i, { reason, result }] of all.entries())
      for (let n = 0; n <= i % 5; n++) state.countAttempt(result, reason);
    expect([...state.attemptCounts]).toEqual(all.map((one, i) => ({ ...one, count: (i % 5) + 1 })));
    const other = createState(createCluster(endpoints(1))).state;
    other.countAttempt('cancelled', 'unsent');
    expect([...other.attemptCounts]).toEqual([{ reason: 'unsent', result: 'cancelled', count: 1 }]);
  });

  it.each([
    [200, 'ok'],
    [404, 'ok'],
    [500, 'error'],
    [503, 'gateway-error'],
    [429, 'unknown'],
  ])('have the result of a reply of %i as %s, at its end and not before', (status, result) => {
    const { cluster, call } = createCall();
    call.begin().last.sent().head(status);
    expect(counted(cluster)).toEqual([]);
    call.last.end();
    expect(counted(cluster)).toEqual([`first ${result}`]);
  });

  it('have a reply that is thrown away before it has been read to its end, and once', async () => {
    const { cluster, call } = createCall({ retry: fiveHundreds });
    call.endsOnAbort = false;
    const first = call.begin().last.sent();
    first.head(503);
    expect(counted(cluster)).toEqual(['first gateway-error']);
    await cluster.runtime.advance(10);
    first.end();
    call.last.sent().head(500);
    call.last.end();
    expect(counted(cluster)).toEqual(['5xx error', 'first gateway-error']);
  });

  it('have what broke as the fault of its endpoint, in the middle of a good reply, too', () => {
    const { cluster, call } = createCall({ retry: { conditions: [] } });
    call.begin().last.sent().fail('INMESH_ERR_CONNECTION_LOST');
    const second = new FakeCall(cluster).begin();
    second.last.sent().head(200);
    second.last.fail('INMESH_ERR_CONNECTION_LOST');
    expect(counted(cluster)).toEqual(['first local-error', 'first local-error']);
  });

  it('have what is no fault of its endpoint as unknown, and after a head by that', () => {
    const { cluster, call } = createCall();
    call.begin().last.fail('INMESH_ERR_OVERFLOW');
    const second = new FakeCall(cluster).begin();
    second.last.sent().head(500);
    second.last.fail('INMESH_ERR_CANCELLED');
    expect(counted(cluster)).toEqual(['first error', 'first unknown']);
  });

  it('have what its caller left as cancelled, and after a head by that', async () => {
    const { cluster, call } = createCall({ retry: fiveHundreds });
    call.begin().last.sent();
    call.driver.cancel(left);
    const second = new FakeCall(cluster).begin();
    second.last.sent().head(500);
    second.driver.cancel(left);
    const waiting = new FakeCall(cluster, { retry: fiveHundreds }).begin();
    waiting.last.sent().head(503);
    waiting.driver.cancel(left);
    await cluster.runtime.advance(100);
    expect(counted(cluster)).toEqual(['first cancelled', 'first error', 'first gateway-error']);
  });

  it('have what took too long as the fault of its endpoint, and after a head by that', async () => {
    const { cluster, call } = createCall({ deadlineMs: 30, retry: { conditions: [] } });
    call.begin().last.sent();
    const answered = new FakeCall(cluster, { deadlineMs: 30 }).begin();
    answered.last.sent().head(200);
    const slow = new FakeCall(cluster, { retry: { ...fiveHundreds, perTryTimeoutMs: 20 } }).begin();
    await cluster.runtime.advance(100);
    expect(slow.attempts).toHaveLength(4);
    expect(counted(cluster)).toEqual([
      'first local-error',
      'first local-error',
      'first ok',
      'reset local-error',
      'unsent local-error',
      'unsent local-error',
    ]);
  });

  it('tell why each attempt was made where it was not sent, and where it was not processed', async () => {
    const { cluster, call } = createCall({ retry: { conditions: ['connect-failure', 'refused-stream'] } });
    call.onStart = (attempt) => {
      if (call.attempts.length < 4)
        attempt.fail('INMESH_ERR_CONNECT_FAILED', { reached: 'no', retry: 'elsewhere' });
    };
    call.begin();
    await cluster.runtime.advance(10);
    call.last.sent().head(503, { 'x-inmesh-nack': '1' });
    await cluster.runtime.advance(1);
    call.last.sent().head(503, { 'x-inmesh-nack': '1' });
    await cluster.runtime.advance(10);
    call.last.sent().head(200);
    call.last.end();
    expect(counted(cluster)).toEqual([
      'connect-failure gateway-error',
      'first local-error',
      'not-processed gateway-error',
      'refused-stream ok',
      'unsent local-error',
      'unsent local-error',
    ]);
  });

  it('have no attempt that was not begun', () => {
    const { cluster, call } = createCall();
    call.onCreate = () => {
      throw new MeshError('INMESH_ERR_BODY_FAILED', 'none');
    };
    call.begin();
    new FakeCall(cluster, { deadlineMs: 0 }).begin();
    expect(counted(cluster)).toEqual([]);
  });
});

describe('the limit of retries', () => {
  const fail = async (options: Parameters<typeof createCall>[0], status = 503): Promise<FakeCall> => {
    const { cluster, call } = createCall(options);
    call.begin();
    for (let i = 0; i < 5; i++) {
      if (!call.last.hasHead) call.last.sent().head(status);
      await cluster.runtime.advance(10);
    }
    return call;
  };

  it.each([
    ['its attempts are used up', { retry: fiveHundreds }, 503, true],
    ['they are not', { retry: fiveHundreds }, 404, false],
    ['there is one attempt', { retry: { ...fiveHundreds, maxAttempts: 1 } }, 503, false],
    ['no condition names it', { retry: { maxAttempts: 2 } }, 503, false],
    ['it may not be sent again', { retry: fiveHundreds, isIdempotent: false }, 503, false],
    [
      'the budget is spent',
      { retry: fiveHundreds, rules: { retryBudget: { capacity: 0, perSuccess: 0 } } },
      503,
      false,
    ],
  ] as const)('is reached or not where %s', async (_when, options, status, isReached) => {
    expect((await fail(options, status)).driver.isRetryLimitReached).toBe(isReached);
  });

  it('is reached by errors, too', async () => {
    const { cluster, call } = createCall({ retry: fiveHundreds });
    call.begin().last.sent().fail('INMESH_ERR_CONNECTION_LOST');
    expect(call.driver.isRetryLimitReached).toBe(false);
    await cluster.runtime.advance(10);
    call.last.sent().fail('INMESH_ERR_CONNECTION_LOST');
    expect([call.driver.isRetryLimitReached, call.failures.length]).toEqual([true, 1]);
  });
});
