import { describe, expect, it } from 'vitest';
import { createCall, FakeCall, failure, leftovers, nothingLeft } from './support.js';

describe('callbacks that come late', () => {
  it('ignores everything of an attempt that was cut', async () => {
    const { cluster, call } = createCall({ retry: { perTryTimeoutMs: 100 } });
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
    const { cluster, call } = createCall({ retry: { conditions: ['5xx'] } });
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
    const { cluster, call } = createCall();
    call.begin().last.sent().head(200);
    call.last.end();
    call.last.end();
    call.last.fail('INMESH_ERR_CONNECTION_LOST');
    expect([call.last.head(200), call.failures]).toEqual([false, []]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('takes the second head of an attempt for none', () => {
    const { call } = createCall();
    expect([call.begin().last.sent().head(200), call.last.head(200)]).toEqual([true, false]);
  });
});

describe('what a call comes to', () => {
  it('fails at once when the limit of calls is reached, and is never retried', () => {
    const { cluster, call } = createCall({
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
    const { cluster, call } = createCall({ isIdempotent: false, route: { headTimeoutMs: 0 } });
    call.begin().last.sent().end();
    expect([call.error.code, call.error.reached]).toEqual(['INMESH_ERR_BAD_REPLY', 'maybe']);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('fails when there is no endpoint', () => {
    const { cluster, call } = createCall({ count: 0 });
    call.begin();
    expect([call.error.code, call.error.reached]).toEqual(['INMESH_ERR_NO_ENDPOINT', 'no']);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('takes an error thrown by the start of an attempt for one that never left', () => {
    const { cluster, call } = createCall();
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
    const { cluster, call } = createCall();
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
    const { cluster, call } = createCall({ isIdempotent: true, retry: { maxAttempts: 2 } });
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
    const { cluster, call } = createCall({ isIdempotent: false, retry: { maxAttempts: 1 } });
    call.begin().last.sent().head(503, { 'x-inmesh-nack': '1' });
    await cluster.runtime.advance(1);
    call.onStart = (attempt) => attempt.fail('INMESH_ERR_CONNECT_FAILED');
    call.last.fail('INMESH_ERR_CONNECT_FAILED');
    expect([call.error.code, call.error.reached]).toEqual(['INMESH_ERR_CONNECT_FAILED', 'refused']);
  });

  it('passes the error of a lonely attempt on as it is', () => {
    const { call } = createCall({ count: 1, retry: { maxAttempts: 1 } });
    const error = failure('INMESH_ERR_CONNECTION_LOST');
    call.begin().last.sent().fail(error);
    expect(call.error).toBe(error);
  });

  it('counts calls and retries', async () => {
    const { cluster, call } = createCall({ retry: { conditions: ['5xx'] } });
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
