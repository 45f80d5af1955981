import { type Endpoint, type MeshErrorCode, type MeshErrorOptions, WatchSource } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import {
  type CallOptions,
  createCall,
  createCluster,
  createState,
  endpoint,
  endpoints,
  FakeCall,
  leftovers,
  nothingLeft,
  type TestCluster,
} from './support.js';

const fiveHundreds = { conditions: ['5xx', 'reset'] } as const;

describe('a call that is answered', () => {
  it('makes one attempt, delivers its head, ends with its last byte, and pays into the budget', () => {
    const { cluster, call } = createCall();
    cluster.state.budget.tryWithdraw();
    call.begin();
    expect([call.last.number, cluster.state.activeCalls, call.last.endpoint.active]).toEqual([1, 1, 1]);
    expect(call.last.sent().head(200)).toBe(true);
    expect([cluster.state.activeCalls, cluster.state.budget.tokens]).toEqual([1, 9]);
    call.last.end();
    expect(leftovers(cluster)).toEqual(nothingLeft);
    expect([call.attempts.length, call.failures.length, cluster.state.budget.tokens]).toEqual([1, 0, 9.1]);
    expect(call.driver.isExhausted).toBe(false);
  });

  it.each([
    [404, 9.1],
    [429, 9],
    [500, 9],
  ])('with %i leaves a budget of %d', (status, tokens) => {
    const { cluster, call } = createCall();
    cluster.state.budget.tryWithdraw();
    call.begin().last.sent().head(status);
    call.last.end();
    expect(cluster.state.budget.tokens).toBe(tokens);
  });

  it('fails when the reply breaks after its head, and is not sent again', () => {
    const { cluster, call } = createCall();
    call.begin().last.sent().head(200);
    call.last.fail('INMESH_ERR_CONNECTION_LOST');
    expect([call.error.code, call.error.reached, call.attempts.length]).toEqual([
      'INMESH_ERR_CONNECTION_LOST',
      'maybe',
      1,
    ]);
    expect(call.attempts[0]?.endpoint.localErrorsInRow).toBe(1);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('observes the time to the head, and 5 s for a failure', async () => {
    const { cluster, call } = createCall({ count: 1 });
    call.begin().last.sent();
    await cluster.runtime.advance(40);
    call.last.head(200);
    await cluster.runtime.advance(1000);
    call.last.end();
    expect(cluster.state.endpoints[0]?.costMs).toBe(40);
    expect(cluster.state.typicalMs).toBe(40 / 16);
    const failed = new FakeCall(cluster).begin();
    failed.last.head(500);
    expect(cluster.state.endpoints[0]?.costMs).toBe(5000);
  });
});

describe('what may be sent again', () => {
  interface Case {
    readonly code: MeshErrorCode;
    readonly options?: MeshErrorOptions;
    readonly isSent: boolean;
    readonly get: number;
    readonly post: number;
    readonly reached: string;
  }
  const unsent = { reached: 'no', retry: 'elsewhere' } as const;
  const refused = { reached: 'refused', retry: 'elsewhere' } as const;
  // Three endpoints, one attempt allowed: only free tries are left.
  it.each<Case>([
    { code: 'INMESH_ERR_CONNECT_FAILED', isSent: false, get: 3, post: 3, reached: 'no' },
    { code: 'INMESH_ERR_CONNECT_TIMEOUT', isSent: false, get: 3, post: 3, reached: 'no' },
    { code: 'INMESH_ERR_PEER_IDENTITY', isSent: false, get: 3, post: 3, reached: 'no' },
    { code: 'INMESH_ERR_CLOSED', isSent: false, get: 3, post: 3, reached: 'no' },
    { code: 'INMESH_ERR_OVERFLOW', isSent: false, get: 1, post: 1, reached: 'no' },
    { code: 'INMESH_ERR_CONNECTION_LOST', options: unsent, isSent: false, get: 3, post: 3, reached: 'no' },
    {
      code: 'INMESH_ERR_CONNECTION_LOST',
      options: refused,
      isSent: true,
      get: 2,
      post: 2,
      reached: 'refused',
    },
    { code: 'INMESH_ERR_CONNECTION_LOST', isSent: true, get: 1, post: 1, reached: 'maybe' },
    { code: 'INMESH_ERR_PEER_REFUSED', isSent: false, get: 1, post: 1, reached: 'no' },
    { code: 'INMESH_ERR_BAD_REPLY', isSent: true, get: 1, post: 1, reached: 'maybe' },
    { code: 'INMESH_ERR_BODY_FAILED', isSent: true, get: 1, post: 1, reached: 'maybe' },
    { code: 'INMESH_ERR_CANCELLED', isSent: true, get: 1, post: 1, reached: 'maybe' },
  ])(
    'without retries: $code, sent: $isSent, tries $get',
    async ({ code, options, isSent, get, post, reached }) => {
      for (const [isIdempotent, tries] of [
        [true, get],
        [false, post],
      ] as const) {
        const { cluster, call } = createCall({ isIdempotent, retry: { maxAttempts: 1 } });
        call.onStart = (attempt) => {
          if (isSent) attempt.sent();
          attempt.fail(code, options);
        };
        call.begin();
        await cluster.runtime.advance(1000);
        expect([call.attempts.length, call.error.code, call.error.reached]).toEqual([tries, code, reached]);
        expect([call.driver.isExhausted, cluster.state.budget.tokens]).toEqual([false, 10]);
        expect(leftovers(cluster)).toEqual(nothingLeft);
      }
    },
  );

  it.each([
    { isIdempotent: true, attempts: 3 },
    { isIdempotent: false, attempts: 1 },
  ])('sends after a lost connection, idempotent: $isIdempotent, $attempts times', async (one) => {
    const { cluster, call } = createCall({ isIdempotent: one.isIdempotent });
    call.onStart = (attempt) => attempt.sent().fail('INMESH_ERR_CONNECTION_LOST');
    call.begin();
    await cluster.runtime.advance(1000);
    expect([call.attempts.length, call.error.reached]).toEqual([one.attempts, 'maybe']);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('tries what never left at once on other endpoints, twice for free', () => {
    const { cluster, call } = createCall({ isIdempotent: false, count: 5 });
    call.onStart = (attempt) => attempt.fail('INMESH_ERR_CONNECT_FAILED');
    call.begin();
    expect(call.attempts.map((one) => one.number)).toEqual([1, 1, 1]);
    expect(new Set(call.attempts.map((one) => one.endpoint)).size).toBe(3);
    expect([cluster.state.budget.tokens, cluster.state.activeRetries]).toEqual([9, 1]);
  });

  it.each<readonly [MeshErrorCode, number]>([
    ['INMESH_ERR_CONNECT_FAILED', 1],
    ['INMESH_ERR_CONNECT_TIMEOUT', 1],
    ['INMESH_ERR_PEER_IDENTITY', 1],
    ['INMESH_ERR_PEER_REFUSED', 1],
    ['INMESH_ERR_CONNECTION_LOST', 0],
  ])('after %s asks %i times where the endpoints are by now', (code, times) => {
    const asked: string[] = [];
    const list = createCluster(endpoints(1));
    const cluster = createState(list, { onUnreachable: (name) => void asked.push(name) });
    const call = new FakeCall(cluster, { isIdempotent: false, retry: { maxAttempts: 1 } });
    call.onStart = (attempt) => attempt.fail(code);
    call.begin();
    expect(asked).toEqual(Array.from({ length: times }, () => 'orders'));
  });

  describe('where all but an ejected endpoint cannot be reached', () => {
    /** Which endpoint is down, by turns: the first is ejected, then it comes back and the second goes. */
    async function restartBoth(): Promise<{
      readonly cluster: TestCluster;
      readonly ask: () => FakeCall;
      readonly first: FakeCall['last']['endpoint'];
      readonly down: Set<unknown>;
    }> {
      const cluster = createState(createCluster(endpoints(2), { balancer: 'round-robin' }));
      const [first, second] = cluster.state.endpoints;
      const down = new Set<unknown>([first]);
      const ask = (): FakeCall => {
        const call = new FakeCall(cluster, { isIdempotent: false, retry: { maxAttempts: 1 } });
        call.onStart = (attempt) => {
          if (down.has(attempt.endpoint)) attempt.fail('INMESH_ERR_CONNECT_FAILED');
          else attempt.sent().head(200);
          attempt.end();
        };
        return call.begin();
      };
      while (cluster.state.ejected === 0) ask();
      await cluster.runtime.advance(2000);
      down.delete(first);
      down.add(second);
      if (first === undefined) throw new Error('no endpoint');
      return { cluster, ask, first, down };
    }

    it('goes there, and it is back', async () => {
      const { cluster, ask, first } = await restartBoth();
      expect(first.isEjected).toBe(true);
      for (let i = 0; i < 40; i++) expect(ask().failures).toEqual([]);
      expect([first.isEjected, first.isOnProbation]).toEqual([false, false]);
      expect(leftovers(cluster)).toEqual(nothingLeft);
    });

    it('goes there once a second, and its absence becomes no longer, while it is down as well', async () => {
      const { cluster, ask, first, down } = await restartBoth();
      down.add(first);
      const { ejections } = first;
      let tried = 0;
      for (let second = 0; second < 5; second++) {
        for (let i = 0; i < 20; i++)
          tried += ask().attempts.filter((attempt) => attempt.endpoint === first).length;
        await cluster.runtime.advance(1000);
      }
      expect(tried).toBe(5);
      expect([first.isEjected, first.ejections]).toEqual([true, ejections]);
    });
  });

  it('says what is known of endpoints that have not been found', () => {
    const list = new WatchSource<readonly Endpoint[]>();
    const cluster = createState(createCluster(list));
    expect(new FakeCall(cluster).begin().error.message).toBe(
      'orders has no endpoint that can be used: where they are has not been found out yet',
    );
    list.fail(new Error('no such host'));
    expect(new FakeCall(cluster).begin().error.message).toBe(
      'orders has no endpoint that can be used: no such host',
    );
  });

  it('waits like any retry when there is no other endpoint', async () => {
    const { cluster, call } = createCall({ count: 1 });
    call.onStart = (attempt) => attempt.fail('INMESH_ERR_CONNECT_FAILED');
    call.begin();
    expect([call.attempts.length, cluster.state.budget.tokens]).toEqual([1, 9]);
    await cluster.runtime.advance(1000);
    expect([call.attempts.length, call.error.reached, call.driver.attempts]).toEqual([3, 'no', 3]);
  });

  it('tries once for free what a peer vouches it did not process, not within its callback', async () => {
    const { cluster, call } = createCall({ isIdempotent: false });
    call.begin().last.sent().head(503, { 'x-inmesh-nack': '1' });
    expect([call.attempts.length, call.attempts[0]?.isDiscarded]).toEqual([1, true]);
    await cluster.runtime.advance(1);
    expect([call.attempts.length, call.last.number, cluster.state.budget.tokens]).toEqual([2, 1, 10]);
    call.last.sent().head(503, { 'finagle-http-nack': 'true' });
    expect(cluster.state.budget.tokens).toBe(9);
    await cluster.runtime.advance(20);
    expect([call.attempts.length, call.last.number]).toEqual([3, 2]);
    expect(call.last.sent().head(200)).toBe(true);
  });

  it('does not believe that an attempt never left which was sent', () => {
    const { call } = createCall({ isIdempotent: false });
    call.begin().last.sent().fail('INMESH_ERR_CONNECT_FAILED');
    expect([call.attempts.length, call.error.reached, call.error.retry]).toEqual([
      1,
      'maybe',
      'if-idempotent',
    ]);
    const { call: other } = createCall({ isIdempotent: false });
    // Its request left, and the peer hung up on who we are.
    other.begin().last.sent().fail('INMESH_ERR_PEER_REFUSED');
    expect([other.attempts.length, other.error.reached]).toEqual([1, 'no']);
  });

  it('does not believe a nack of a peer that proved nothing', () => {
    const { call } = createCall({ isIdempotent: false });
    expect(call.begin().last.sent().head(503, { 'x-inmesh-nack': '1' }, false)).toBe(true);
  });

  it('sends a reply of the conditions again only if that is safe', () => {
    const retry = { conditions: ['retriable-status-codes'], statusCodes: [503] } as const;
    const tries = (options: CallOptions): boolean => !createCall(options).call.begin().last.sent().head(503);
    expect(tries({ retry })).toBe(true);
    expect(tries({ retry, isIdempotent: false })).toBe(false);
    expect(tries({ retry: { ...retry, nonIdempotent: true }, isIdempotent: false })).toBe(true);
    expect(tries({ retry: { ...fiveHundreds, nonIdempotent: true }, isIdempotent: false })).toBe(false);
    expect(tries({ retry, isReplayable: false })).toBe(false);
    expect(tries({ retry, isRetryOfCaller: true })).toBe(false);
    expect(tries({ retry: { ...retry, statusCodes: [500] } })).toBe(false);
  });

  it('still sends again, as a retry of its caller, what provably reached nobody', async () => {
    const unsentCall = createCall({ isRetryOfCaller: true });
    unsentCall.call.begin().last.fail('INMESH_ERR_CONNECT_FAILED');
    expect(unsentCall.call.attempts.length).toBe(2);
    const nacked = createCall({ isRetryOfCaller: true });
    nacked.call.begin().last.sent().head(503, { 'x-inmesh-nack': '1' });
    await nacked.cluster.runtime.advance(1);
    expect(nacked.call.attempts.length).toBe(2);
    const lost = createCall({ isRetryOfCaller: true });
    lost.call.begin().last.sent().fail('INMESH_ERR_CONNECTION_LOST');
    expect([lost.call.attempts.length, lost.call.failures.length]).toEqual([1, 1]);
  });

  it('looks beyond a priority of which nobody can be reached, before it gives up what reached nobody', () => {
    const list = [1, 2, 3, 10].map((port) => endpoint(port, { priority: port < 10 ? 0 : 1 }));
    for (const count of [1, 3]) {
      const cluster = createState(createCluster([...list.slice(0, count), ...list.slice(3)]));
      const call = new FakeCall(cluster, { isIdempotent: false }).begin();
      for (let i = 0; i < 2 && call.last.endpoint.endpoint.port < 10; i++)
        call.last.fail('INMESH_ERR_CONNECT_FAILED');
      // At once: not as a retry, which would wait and cost.
      const { endpoint: spare, number } = call.last;
      expect([spare.endpoint.port, number, cluster.state.stats.retries]).toEqual([10, 1, 0]);
    }
  });

  it('looks there also where it has a share by now, and to weight 0 last', () => {
    const near = [1, 2, 3, 4, 5, 6, 7, 8].map((port) => endpoint(port));
    const list = [...near, endpoint(10, { priority: 1 }), endpoint(20, { weight: 0 })];
    const cluster = createState(createCluster(list));
    const { state } = cluster;
    for (const one of state.endpoints.slice(0, 4))
      for (let i = 0; i < 5; i++) state.onResult(one, 'local-error', undefined, 0);
    expect(state.usableCount).toBe(5);
    for (let i = 0; i < 100; i++) {
      const call = new FakeCall(cluster, { isIdempotent: false }).begin();
      while (call.last.endpoint.endpoint.port < 10) call.last.fail('INMESH_ERR_CONNECT_FAILED');
      expect([call.last.endpoint.endpoint.port, call.last.number]).toEqual([10, 1]);
      call.last.sent().head(200);
      call.last.end();
      for (const one of state.endpoints) Object.assign(one, { localErrorsInRow: 0, failures: 0 });
    }
  });

  it('sends a reply of a near endpoint again to none that is passed over', async () => {
    const list = [endpoint(1), endpoint(2, { priority: 1 }), endpoint(3, { weight: 0 })];
    const cluster = createState(createCluster(list));
    const retry = { conditions: ['retriable-status-codes'], statusCodes: [503] } as const;
    const call = new FakeCall(cluster, { retry }).begin();
    call.last.sent().head(503);
    await cluster.runtime.advance(100);
    expect(call.attempts.map((one) => one.endpoint.endpoint.port)).toEqual([1, 1]);
  });

  it('sends nothing again whose body is gone', () => {
    const { call } = createCall({ isReplayable: false });
    call.begin().last.fail('INMESH_ERR_CONNECT_FAILED');
    expect([call.attempts.length, call.error.code]).toEqual([1, 'INMESH_ERR_CONNECT_FAILED']);
  });

  it('follows the classifier before the conditions', () => {
    const classify = (name: 'failure' | 'retryable' | 'success') => ({ route: { classify: () => name } });
    expect(createCall(classify('retryable')).call.begin().last.sent().head(200)).toBe(false);
    const fine = createCall({ ...classify('success'), retry: fiveHundreds });
    expect(fine.call.begin().last.sent().head(500)).toBe(true);
    expect(fine.call.last.endpoint.errorsInRow).toBe(0);
    const bad = createCall(classify('failure'));
    expect(bad.call.begin().last.sent().head(200)).toBe(true);
    expect(bad.call.last.endpoint.errorsInRow).toBe(1);
  });
});

describe('the gates of a retry', () => {
  it('stops after as many attempts as allowed, and says so', async () => {
    const { cluster, call } = createCall({ retry: { ...fiveHundreds, maxAttempts: 2 } });
    call.begin().last.sent().head(500);
    await cluster.runtime.advance(11);
    expect(call.last.sent().head(500)).toBe(true);
    call.last.end();
    expect([call.attempts.length, call.driver.isExhausted, call.failures.length]).toEqual([2, true, 0]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });

  it('stops when the budget is spent, with the last reply', () => {
    const { cluster, call } = createCall({ retry: fiveHundreds });
    while (cluster.state.budget.tryWithdraw());
    expect(call.begin().last.sent().head(500)).toBe(true);
    expect([call.driver.isExhausted, cluster.state.stats.budgetRefusals]).toEqual([true, 1]);
  });

  it('obeys the bound on retries at once, and gives the place back at the end', async () => {
    const { cluster, call } = createCall({
      retry: fiveHundreds,
      rules: { retryConcurrency: { budgetPercent: 0, minRetries: 1 } },
    });
    call.begin().last.sent().head(500);
    const second = new FakeCall(cluster, { retry: fiveHundreds }).begin();
    expect(second.last.sent().head(500)).toBe(true);
    expect([cluster.state.activeRetries, cluster.state.budget.tokens]).toEqual([1, 9]);
    await cluster.runtime.advance(11);
    call.last.sent().head(200);
    expect(cluster.state.activeRetries).toBe(1);
    call.last.end();
    expect(cluster.state.activeRetries).toBe(0);
  });

  it.each([true, false])(
    'does as the peer wishes, and passes its wish on (replayable: %s)',
    (isReplayable) => {
      const { call } = createCall({ retry: fiveHundreds, isReplayable });
      expect(call.begin().last.sent().head(500, { 'x-inmesh-no-retry': '1' })).toBe(true);
      expect(call.driver.isExhausted).toBe(true);
    },
  );

  it('does not begin what the deadline leaves no time for', async () => {
    const { cluster, call } = createCall({ retry: { ...fiveHundreds, backoff: () => 50 }, deadlineMs: 60 });
    call.begin();
    await cluster.runtime.advance(10);
    expect(call.last.sent().head(500)).toBe(true);
    expect(cluster.state.budget.tokens).toBe(10);
  });

  it('counts the typical time of a reply against the deadline', () => {
    const { cluster, call } = createCall({ retry: fiveHundreds, deadlineMs: 60 });
    cluster.state.typicalMs = 55;
    expect(call.begin().last.sent().head(500)).toBe(true);
  });

  it('counts the time to the head as an end too', () => {
    const { call } = createCall({
      retry: { ...fiveHundreds, backoff: () => 50 },
      route: { headTimeoutMs: 50 },
    });
    expect(call.begin().last.sent().head(500)).toBe(true);
  });

  it('waits as long as Retry-After asks, and not for one beyond its bound', async () => {
    const { cluster, call } = createCall({ retry: { ...fiveHundreds, maxRetryAfterMs: 5000 } });
    call.begin().last.sent().head(503, { 'retry-after': '2' });
    await cluster.runtime.advance(1999);
    expect(call.attempts.length).toBe(1);
    await cluster.runtime.advance(1);
    expect(call.attempts.length).toBe(2);
    expect(call.last.sent().head(503, { 'retry-after': '6' })).toBe(true);
  });

  it('does not wait for a century', () => {
    const { call } = createCall({ retry: fiveHundreds });
    const headers = { 'retry-after': 'Fri, 01 Jan 2125 00:00:00 GMT' };
    expect(call.begin().last.sent().head(503, headers)).toBe(true);
  });

  it('backs off anew for each retry', async () => {
    const retries: number[] = [];
    const backoff = (retry: number): number => {
      retries.push(retry);
      return 10 * retry;
    };
    const { cluster, call } = createCall({ retry: { ...fiveHundreds, backoff, maxAttempts: 4 } });
    call.onStart = (attempt) => void attempt.sent().head(500);
    call.begin();
    await cluster.runtime.advance(9);
    expect(call.attempts.length).toBe(1);
    await cluster.runtime.advance(1 + 20 + 30);
    expect([call.attempts.length, retries]).toEqual([4, [1, 2, 3]]);
  });

  it('avoids endpoints that were tried, and takes one again when all were', async () => {
    const { cluster, call } = createCall({ retry: { ...fiveHundreds, maxAttempts: 4 } });
    call.onStart = (attempt) => void attempt.sent().head(500);
    call.begin();
    await cluster.runtime.advance(100);
    expect(new Set(call.attempts.slice(0, 3).map((one) => one.endpoint)).size).toBe(3);
    expect(call.attempts.length).toBe(4);
  });

  it('numbers attempts for the peer', async () => {
    const { cluster, call } = createCall({ retry: fiveHundreds });
    call.onStart = (attempt) => void attempt.sent().head(500);
    call.begin();
    await cluster.runtime.advance(100);
    expect(call.attempts.map((one) => one.number)).toEqual([1, 2, 3]);
  });
});
