import { describe, expect, it } from 'vitest';
import {
  createCall,
  createCluster,
  createState,
  endpoints,
  FakeCall,
  failure,
  leftovers,
  nothingLeft,
  type TestCluster,
  watchOf,
} from './support.js';

const gone = failure('INMESH_ERR_CANCELLED');

describe('the token of a retry', () => {
  const told = ({ state }: TestCluster) => [state.budget.tokens, state.stats.retries, state.activeRetries];

  it('is given back by a call that is cancelled while it waits', () => {
    const { cluster, call } = createCall({ retry: { conditions: ['5xx'] } });
    call.begin().last.sent().head(503);
    expect(told(cluster)).toEqual([9, 1, 1]);
    call.driver.cancel(gone);
    expect(told(cluster)).toEqual([10, 0, 0]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('is spent once the retry is made, also where a free try follows that nobody waits for', async () => {
    const { cluster, call } = createCall({ retry: { conditions: ['5xx'] } });
    call.begin().last.sent().head(503);
    await cluster.runtime.advance(25);
    call.last.sent().head(503, { 'x-inmesh-nack': '1' });
    call.driver.cancel(gone);
    expect([call.attempts.length, ...told(cluster)]).toEqual([2, 9, 1, 0]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });
});

describe('the time of one attempt', () => {
  it('cuts an attempt that was sent, blames the endpoint, and tries another', async () => {
    const { cluster, call } = createCall({ retry: { perTryTimeoutMs: 100 } });
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
    const { cluster, call } = createCall({ retry: { perTryTimeoutMs: 100 }, isIdempotent: false });
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
    const { cluster, call } = createCall({ retry: { perTryTimeoutMs: 100 }, isIdempotent: false });
    call.begin();
    await cluster.runtime.advance(100);
    expect([call.attempts.length, call.attempts[0]?.abortedWith?.reached]).toEqual([2, 'no']);
    expect(cluster.state.budget.tokens).toBe(10);
  });

  it('begins anew for each attempt, and ends with the head', async () => {
    const { cluster, call } = createCall({ retry: { perTryTimeoutMs: 100 } });
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
    const { cluster, call } = createCall({ retry: { perTryTimeoutMs: 400 }, route: { headTimeoutMs: 1000 } });
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

  it('says why the attempt before failed, as its cause too', async () => {
    const { cluster, call } = createCall({ route: { headTimeoutMs: 1000 } });
    call.begin().last.sent();
    const broken = failure('INMESH_ERR_CONNECTION_LOST');
    call.last.fail(broken);
    await cluster.runtime.advance(1000);
    expect([call.attempts.length, call.error.code, call.error.cause]).toEqual([
      2,
      'INMESH_ERR_HEAD_TIMEOUT',
      broken,
    ]);
    expect(call.error.message).toBe(
      'orders did not begin to answer within 1000 ms; the attempt before failed: scripted (after 2 attempts)',
    );
  });

  it('says what the attempt before was answered with', async () => {
    const { cluster, call } = createCall({
      retry: { conditions: ['5xx'] },
      route: { headTimeoutMs: 1000 },
    });
    call.begin().last.head(503);
    await cluster.runtime.advance(1000);
    expect(call.error.message).toContain(
      'within 1000 ms; the attempt before was answered, and its reply was to be retried',
    );
  });

  it('says nothing of an attempt before where there was none', async () => {
    const { cluster, call } = createCall({ route: { headTimeoutMs: 1000 } });
    call.begin().last.sent();
    await cluster.runtime.advance(1000);
    expect([call.error.message, call.error.cause]).toEqual([
      'orders did not begin to answer within 1000 ms',
      undefined,
    ]);
  });

  it('is 15 s unless set, and does not end a reply that streams', async () => {
    const { cluster, call } = createCall();
    call.begin().last.sent();
    await cluster.runtime.advance(14_999);
    call.last.head(200);
    await cluster.runtime.advance(60_000);
    expect([call.failures.length, cluster.state.activeCalls]).toEqual([0, 1]);
    call.last.end();
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('is none when set to 0', async () => {
    const { cluster, call } = createCall({ route: { headTimeoutMs: 0 } });
    call.begin().last.sent();
    expect(cluster.runtime.armed).toBe(0);
    call.driver.cancel(gone);
  });
});

describe('a call without endpoints', () => {
  it('says why the attempt before failed', async () => {
    const source = watchOf(endpoints(1));
    const cluster = createState(createCluster(source));
    const call = new FakeCall(cluster);
    const broken = failure('INMESH_ERR_CONNECTION_LOST');
    call.begin().last.sent().fail(broken);
    source.set([]);
    await cluster.runtime.advance(1000);
    expect([call.error.code, call.error.cause]).toEqual(['INMESH_ERR_NO_ENDPOINT', broken]);
    expect(call.error.message).toContain('can be used; the attempt before failed: scripted');
  });
});

describe('the deadline', () => {
  it('refuses a call that is late before it begins', () => {
    const { cluster, call } = createCall({ deadlineMs: 0 });
    call.begin();
    expect([call.attempts.length, call.error.code, call.error.reached]).toEqual([
      0,
      'INMESH_ERR_DEADLINE_EXCEEDED',
      'no',
    ]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('ends an attempt that never left, and says so', async () => {
    const { cluster, call } = createCall({ deadlineMs: 50 });
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
    const { cluster, call } = createCall({ deadlineMs: 50 });
    call.begin().last.sent();
    await cluster.runtime.advance(50);
    expect([call.error.reached, call.last.endpoint.localErrorsInRow]).toEqual(['maybe', 1]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('ends a wait', async () => {
    const { cluster, call } = createCall({ retry: { backoff: () => 40 }, deadlineMs: 100 });
    call.begin().last.sent().fail('INMESH_ERR_CONNECTION_LOST');
    call.deadlineMs = 30;
    await cluster.runtime.advance(40);
    expect([call.attempts.length, call.error.code]).toEqual([1, 'INMESH_ERR_DEADLINE_EXCEEDED']);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('says why the attempt before failed, as its cause too', async () => {
    const { cluster, call } = createCall({ deadlineMs: 1000 });
    const broken = failure('INMESH_ERR_CONNECTION_LOST');
    call.begin().last.sent().fail(broken);
    await cluster.runtime.advance(1000);
    expect([call.error.code, call.error.cause]).toEqual(['INMESH_ERR_DEADLINE_EXCEEDED', broken]);
    expect(call.error.message).toContain('ran out of time; the attempt before failed: scripted');
  });

  it('says nothing of the attempts before once a reply streams', async () => {
    const { cluster, call } = createCall({ deadlineMs: 1000 });
    const broken = failure('INMESH_ERR_CONNECTION_LOST');
    call.begin().last.sent().fail(broken);
    await cluster.runtime.advance(100);
    call.last.sent().head(200);
    await cluster.runtime.advance(900);
    expect(call.error.message).toBe('the call to orders ran out of time (after 2 attempts)');
    expect(call.error.cause).not.toBe(broken);
  });

  it('ends a reply that streams, without blame', async () => {
    const { cluster, call } = createCall({ deadlineMs: 50 });
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
    const { cluster, call } = createCall();
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
    const { cluster, call } = createCall();
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
    const { call } = createCall();
    call.begin().last.sent().head(200);
    call.last.end();
    call.driver.cancel(gone);
    expect(call.last.abortedWith).toBeUndefined();
  });

  it('says of the endpoint only that it took at least this long', async () => {
    const { cluster, call } = createCall({ count: 1 });
    call.begin().last.sent();
    await cluster.runtime.advance(300);
    call.driver.cancel(gone);
    const [only] = cluster.state.endpoints;
    expect([only?.costMs, only?.failures, only?.successes]).toEqual([300, 0, 0]);
  });

  it('stops a call within the start of its attempt', () => {
    const { cluster, call } = createCall();
    call.onStart = () => call.driver.cancel(gone);
    call.begin();
    expect([call.last.abortedWith, call.failures]).toEqual([gone, []]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });
});

describe('cancelling within a callback', () => {
  it('does not bring a call back to life whose attempt is being cut', async () => {
    const { cluster, call } = createCall({ retry: { perTryTimeoutMs: 100 } });
    call.onAbort = () => call.driver.cancel(gone);
    call.begin();
    await cluster.runtime.advance(1000);
    expect([call.attempts.length, call.failures]).toEqual([1, []]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('does not start the attempt that is being made', () => {
    const { cluster, call } = createCall();
    let starts = 0;
    call.onStart = () => starts++;
    call.onCreate = () => call.driver.cancel(gone);
    call.begin();
    expect([starts, call.failures]).toEqual([0, []]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('does not start a call that was cancelled before', () => {
    const { cluster, call } = createCall();
    call.driver.cancel(gone);
    call.begin();
    expect([call.attempts, call.failures, cluster.state.stats.calls]).toEqual([[], [], 0]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });
});
