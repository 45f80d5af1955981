import { describe, expect, it } from 'vitest';
import {
  type CallOptions,
  createCluster,
  createState,
  endpoints,
  FakeCall,
  failure,
  leftovers,
  nothingLeft,
  type TestCluster,
} from './support.js';

interface Setup extends CallOptions {
  readonly count?: number;
  readonly rules?: Parameters<typeof createCluster>[1];
}

function create({ count = 3, rules, ...options }: Setup = {}): {
  readonly cluster: TestCluster;
  readonly call: FakeCall;
} {
  const cluster = createState(createCluster(endpoints(count), rules));
  return { cluster, call: new FakeCall(cluster, options) };
}

const gone = failure('INMESH_ERR_CANCELLED');

describe('the time of one attempt', () => {
  it('cuts an attempt that was sent, blames the endpoint, and tries another', async () => {
    const { cluster, call } = create({ retry: { perTryTimeoutMs: 100 } });
    call.begin().last.sent();
    const [first] = call.attempts;
    await cluster.runtime.advance(100);
    expect([first?.abortedWith?.code, first?.abortedWith?.reached]).toEqual([
      'INMESH_ERR_ATTEMPT_TIMEOUT',
      'maybe',
    ]);
    expect([first?.endpoint.localErrorsInRow, first?.endpoint.costMs]).toEqual([1, 5000]);
    expect(cluster.state.budget.tokens).toBe(9);
    await cluster.runtime.advance(10);
    expect([call.attempts.length, call.last.endpoint === first?.endpoint]).toEqual([2, false]);
    call.last.sent().head(200);
    call.last.end();
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('does not send a POST again that was sent', async () => {
    const { cluster, call } = create({ retry: { perTryTimeoutMs: 100 }, isIdempotent: false });
    call.begin().last.sent();
    await cluster.runtime.advance(100);
    expect([call.attempts.length, call.error.code, call.error.reached]).toEqual([
      1,
      'INMESH_ERR_ATTEMPT_TIMEOUT',
      'maybe',
    ]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('moves a POST that never left to another endpoint at once', async () => {
    const { cluster, call } = create({ retry: { perTryTimeoutMs: 100 }, isIdempotent: false });
    call.begin();
    await cluster.runtime.advance(100);
    expect([call.attempts.length, call.attempts[0]?.abortedWith?.reached]).toEqual([2, 'no']);
    expect(cluster.state.budget.tokens).toBe(10);
  });

  it('begins anew for each attempt, and ends with the head', async () => {
    const { cluster, call } = create({ retry: { perTryTimeoutMs: 100 } });
    call.begin().last.sent();
    await cluster.runtime.advance(110);
    call.last.sent();
    await cluster.runtime.advance(99);
    expect(call.attempts.length).toBe(2);
    call.last.head(200);
    await cluster.runtime.advance(60_000);
    expect([call.attempts.length, call.last.abortedWith]).toEqual([2, undefined]);
  });
});

describe('the time to the head', () => {
  it('ends the call over all attempts', async () => {
    const { cluster, call } = create({ retry: { perTryTimeoutMs: 400 }, route: { headTimeoutMs: 1000 } });
    call.onStart = (attempt) => void attempt.sent();
    call.begin();
    await cluster.runtime.advance(999);
    expect(call.failures).toEqual([]);
    await cluster.runtime.advance(1);
    expect([call.error.code, call.error.reached, call.last.abortedWith?.code]).toEqual([
      'INMESH_ERR_HEAD_TIMEOUT',
      'maybe',
      'INMESH_ERR_HEAD_TIMEOUT',
    ]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('is 15 s unless set, and does not end a reply that streams', async () => {
    const { cluster, call } = create();
    call.begin().last.sent();
    await cluster.runtime.advance(14_999);
    call.last.head(200);
    await cluster.runtime.advance(60_000);
    expect([call.failures.length, cluster.state.activeCalls]).toEqual([0, 1]);
    call.last.end();
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('is none when set to 0', async () => {
    const { cluster, call } = create({ route: { headTimeoutMs: 0 } });
    call.begin().last.sent();
    expect(cluster.runtime.armed).toBe(0);
    call.driver.cancel(gone);
  });
});

describe('the deadline', () => {
  it('refuses a call that is late before it begins', () => {
    const { cluster, call } = create({ deadlineMs: 0 });
    call.begin();
    expect([call.attempts.length, call.error.code, call.error.reached]).toEqual([
      0,
      'INMESH_ERR_DEADLINE_EXCEEDED',
      'no',
    ]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('ends an attempt that never left, and says so', async () => {
    const { cluster, call } = create({ deadlineMs: 50 });
    call.begin();
    await cluster.runtime.advance(50);
    expect([call.error.code, call.error.reached, call.last.abortedWith?.code]).toEqual([
      'INMESH_ERR_DEADLINE_EXCEEDED',
      'no',
      'INMESH_ERR_DEADLINE_EXCEEDED',
    ]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('ends an attempt that was sent, and blames its endpoint', async () => {
    const { cluster, call } = create({ deadlineMs: 50 });
    call.begin().last.sent();
    await cluster.runtime.advance(50);
    expect([call.error.reached, call.last.endpoint.localErrorsInRow]).toEqual(['maybe', 1]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('ends a wait', async () => {
    const { cluster, call } = create({ retry: { backoff: () => 40 }, deadlineMs: 100 });
    call.begin().last.sent().fail('INMESH_ERR_CONNECTION_LOST');
    call.deadlineMs = 30;
    await cluster.runtime.advance(40);
    expect([call.attempts.length, call.error.code]).toEqual([1, 'INMESH_ERR_DEADLINE_EXCEEDED']);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('ends a reply that streams, without blame', async () => {
    const { cluster, call } = create({ deadlineMs: 50 });
    call.begin().last.sent().head(200);
    await cluster.runtime.advance(50);
    expect([call.error.code, call.last.abortedWith?.code, call.last.endpoint.localErrorsInRow]).toEqual([
      'INMESH_ERR_DEADLINE_EXCEEDED',
      'INMESH_ERR_DEADLINE_EXCEEDED',
      0,
    ]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('leaves no timer behind a call without any', () => {
    const { cluster, call } = create();
    call.begin().last.sent().head(200);
    expect(cluster.runtime.armed).toBe(0);
  });
});

describe('cancelling', () => {
  it.each<[string, (call: FakeCall) => void, number]>([
    ['before the attempt left', () => {}, 1],
    ['after it was sent', (call) => void call.last.sent(), 1],
    ['after its head', (call) => void call.last.sent().head(200), 1],
    ['while waiting', (call) => call.last.sent().fail('INMESH_ERR_CONNECTION_LOST'), 1],
  ])('%s cuts what is under way and tells nobody', async (_when, arrange, attempts) => {
    const { cluster, call } = create();
    arrange(call.begin());
    call.driver.cancel(gone);
    call.driver.cancel(gone);
    await cluster.runtime.advance(60_000);
    expect([call.attempts.length, call.failures]).toEqual([attempts, []]);
    expect(call.last.isOver).toBe(true);
    expect(call.last.endpoint.errorsInRow + call.last.endpoint.failures).toBeLessThanOrEqual(1);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('does nothing to a call that is over', () => {
    const { call } = create();
    call.begin().last.sent().head(200);
    call.last.end();
    call.driver.cancel(gone);
    expect(call.last.abortedWith).toBeUndefined();
  });

  it('says of the endpoint only that it took at least this long', async () => {
    const { cluster, call } = create({ count: 1 });
    call.begin().last.sent();
    await cluster.runtime.advance(300);
    call.driver.cancel(gone);
    const [only] = cluster.state.endpoints;
    expect([only?.costMs, only?.failures, only?.successes]).toEqual([300, 0, 0]);
  });

  it('stops a call within the start of its attempt', () => {
    const { cluster, call } = create();
    call.onStart = () => call.driver.cancel(gone);
    call.begin();
    expect([call.last.abortedWith, call.failures]).toEqual([gone, []]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });
});

describe('cancelling within a callback', () => {
  it('does not bring a call back to life whose attempt is being cut', async () => {
    const { cluster, call } = create({ retry: { perTryTimeoutMs: 100 } });
    call.onAbort = () => call.driver.cancel(gone);
    call.begin();
    await cluster.runtime.advance(1000);
    expect([call.attempts.length, call.failures]).toEqual([1, []]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('does not start the attempt that is being made', () => {
    const { cluster, call } = create();
    let starts = 0;
    call.onStart = () => starts++;
    call.onCreate = () => call.driver.cancel(gone);
    call.begin();
    expect([starts, call.failures]).toEqual([0, []]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('does not start a call that was cancelled before', () => {
    const { cluster, call } = create();
    call.driver.cancel(gone);
    call.begin();
    expect([call.attempts, call.failures, cluster.state.stats.calls]).toEqual([[], [], 0]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });
});

describe('callbacks that come late', () => {
  it('ignores everything of an attempt that was cut', async () => {
    const { cluster, call } = create({ retry: { perTryTimeoutMs: 100 } });
    call.endsOnAbort = false;
    const first = call.begin().last.sent();
    await cluster.runtime.advance(110);
    expect([call.attempts.length, first.endpoint.active]).toEqual([2, 1]);
    expect(first.head(200)).toBe(false);
    first.end();
    first.end();
    first.fail('INMESH_ERR_CONNECTION_LOST');
    expect([first.endpoint.active, call.failures]).toEqual([0, []]);
    call.last.sent().head(200);
    call.last.end();
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('holds the count of an endpoint until a reply that was thrown away has ended', async () => {
    const { cluster, call } = create({ retry: { conditions: ['5xx'] } });
    call.endsOnAbort = false;
    const first = call.begin().last.sent();
    first.head(500);
    await cluster.runtime.advance(20);
    call.last.sent().head(200);
    call.last.end();
    expect([cluster.state.activeCalls, first.endpoint.active]).toEqual([0, 1]);
    first.end();
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('ignores events after the end', () => {
    const { cluster, call } = create();
    call.begin().last.sent().head(200);
    call.last.end();
    call.last.end();
    call.last.fail('INMESH_ERR_CONNECTION_LOST');
    expect([call.last.head(200), call.failures]).toEqual([false, []]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('takes the second head of an attempt for none', () => {
    const { call } = create();
    expect([call.begin().last.sent().head(200), call.last.head(200)]).toEqual([true, false]);
  });
});

describe('what a call comes to', () => {
  it('fails at once when the limit of calls is reached, and is never retried', () => {
    const { cluster, call } = create({
      rules: { limits: { maxConnections: 9, maxPending: 9, maxRequests: 1 } },
    });
    call.begin();
    const second = new FakeCall(cluster).begin();
    expect([second.attempts.length, second.error.code, second.error.reached, second.error.retry]).toEqual([
      0,
      'INMESH_ERR_OVERFLOW',
      'no',
      'never',
    ]);
    expect([cluster.state.stats.overflows, cluster.state.activeCalls]).toEqual([1, 1]);
    call.last.sent().head(200);
    call.last.end();
    expect(new FakeCall(cluster).begin().attempts.length).toBe(1);
  });

  it('takes a reply that ends before its head for a bad one', () => {
    const { cluster, call } = create({ isIdempotent: false, route: { headTimeoutMs: 0 } });
    call.begin().last.sent().end();
    expect([call.error.code, call.error.reached]).toEqual(['INMESH_ERR_BAD_REPLY', 'maybe']);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('fails when there is no endpoint', () => {
    const { cluster, call } = create({ count: 0 });
    call.begin();
    expect([call.error.code, call.error.reached]).toEqual(['INMESH_ERR_NO_ENDPOINT', 'no']);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('takes an error thrown by the start of an attempt for one that never left', () => {
    const { cluster, call } = create();
    call.onStart = () => {
      throw failure('INMESH_ERR_CONNECT_FAILED');
    };
    call.begin();
    expect(call.attempts.length).toBe(3);
    const broken = new FakeCall(cluster);
    broken.onStart = () => {
      throw new TypeError('oops');
    };
    broken.begin();
    expect([broken.attempts.length, broken.error.code, broken.error.reached]).toEqual([
      1,
      'INMESH_ERR_INTERNAL',
      'no',
    ]);
    expect(broken.error.cause).toBeInstanceOf(TypeError);
  });

  it('fails, and leaves nothing behind, when an attempt cannot be made', async () => {
    const { cluster, call } = create();
    call.onCreate = () => {
      throw new TypeError('the body threw');
    };
    call.begin();
    expect([call.error.code, call.error.reached]).toEqual(['INMESH_ERR_INTERNAL', 'no']);
    expect(call.error.cause).toBeInstanceOf(TypeError);
    expect(leftovers(cluster)).toEqual(nothingLeft);
    const second = new FakeCall(cluster, { retry: { conditions: ['5xx'] } });
    second.begin().last.sent().head(500);
    second.onCreate = () => {
      throw failure('INMESH_ERR_BODY_FAILED');
    };
    await cluster.runtime.advance(10);
    expect([second.error.code, second.error.reached]).toEqual(['INMESH_ERR_BODY_FAILED', 'maybe']);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('says the worst that any attempt came to', async () => {
    const { cluster, call } = create({ isIdempotent: true, retry: { maxAttempts: 2 } });
    call.begin().last.sent().fail('INMESH_ERR_CONNECTION_LOST');
    await cluster.runtime.advance(10);
    call.onStart = (attempt) => attempt.fail('INMESH_ERR_CONNECT_FAILED');
    call.last.fail('INMESH_ERR_CONNECT_FAILED');
    expect([call.error.code, call.error.reached, call.error.retry]).toEqual([
      'INMESH_ERR_CONNECT_FAILED',
      'maybe',
      'if-idempotent',
    ]);
    expect(call.error.details['attempts']).toBe(3);
  });

  it('says refused when the worst was a refusal', async () => {
    const { cluster, call } = create({ isIdempotent: false, retry: { maxAttempts: 1 } });
    call.begin().last.sent().head(503, { 'x-inmesh-nack': '1' });
    await cluster.runtime.advance(1);
    call.onStart = (attempt) => attempt.fail('INMESH_ERR_CONNECT_FAILED');
    call.last.fail('INMESH_ERR_CONNECT_FAILED');
    expect([call.error.code, call.error.reached]).toEqual(['INMESH_ERR_CONNECT_FAILED', 'refused']);
  });

  it('passes the error of a lonely attempt on as it is', () => {
    const { call } = create({ count: 1, retry: { maxAttempts: 1 } });
    const error = failure('INMESH_ERR_CONNECTION_LOST');
    call.begin().last.sent().fail(error);
    expect(call.error).toBe(error);
  });

  it('counts calls and retries', async () => {
    const { cluster, call } = create({ retry: { conditions: ['5xx'] } });
    call.begin().last.sent().head(500);
    await cluster.runtime.advance(10);
    call.last.sent().head(200);
    call.last.end();
    const { calls, retries, budgetRefusals, overflows } = cluster.state.stats;
    expect({ calls, retries, budgetRefusals, overflows }).toEqual({
      calls: 1,
      retries: 1,
      budgetRefusals: 0,
      overflows: 0,
    });
  });
});
