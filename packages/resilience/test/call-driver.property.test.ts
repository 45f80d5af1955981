import type { MeshErrorCode } from '@inmesh/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  counted,
  createCluster,
  createState,
  endpoints,
  type FakeAttempt,
  FakeCall,
  failure,
  found,
  leftovers,
  nothingLeft,
  type TestCluster,
} from './support.js';

interface Head {
  readonly kind: 'head';
  readonly status: number;
  readonly mark: string;
  readonly isTrusted: boolean;
}

type Event =
  | { readonly kind: 'begin' | 'cancel' | 'end' | 'sent' }
  | Head
  | { readonly kind: 'fail'; readonly code: MeshErrorCode; readonly isRefusal: boolean }
  | { readonly kind: 'advance'; readonly ms: number };

interface Step {
  readonly event: Event;
  /** Which call and attempt, by remainder. */
  readonly which: number;
}

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ kind: 'begin' } as const) },
  { weight: 1, arbitrary: fc.constant({ kind: 'cancel' } as const) },
  { weight: 4, arbitrary: fc.constant({ kind: 'sent' } as const) },
  { weight: 3, arbitrary: fc.constant({ kind: 'end' } as const) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('head' as const),
      status: fc.constantFrom(200, 404, 429, 500, 503),
      mark: fc.constantFrom('', 'x-inmesh-nack', 'x-inmesh-no-retry', 'retry-after'),
      isTrusted: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('fail' as const),
      code: fc.constantFrom<MeshErrorCode>(
        'INMESH_ERR_CONNECT_FAILED',
        'INMESH_ERR_CONNECTION_LOST',
        'INMESH_ERR_PEER_REFUSED',
        'INMESH_ERR_BODY_FAILED',
        'INMESH_ERR_OVERFLOW',
      ),
      isRefusal: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('advance' as const), ms: fc.constantFrom(1, 10, 30, 70) }),
  },
);

interface World {
  readonly cluster: TestCluster;
  readonly calls: FakeCall[];
  /** Attempts of which the peer proved that no handler ran. */
  readonly excused: Set<FakeAttempt>;
  readonly faults: string[];
  readonly options: {
    readonly isIdempotent: boolean;
    readonly isReplayable: boolean;
    readonly hasDeadline: boolean;
  };
  readonly endsOnAbort: boolean;
}

function begin({ cluster, calls, excused, faults, options, endsOnAbort }: World): void {
  const call = new FakeCall(cluster, {
    isLogged: true,
    isIdempotent: options.isIdempotent,
    isReplayable: options.isReplayable,
    deadlineMs: options.hasDeadline ? cluster.runtime.now() + 100 : Number.POSITIVE_INFINITY,
    retry: { conditions: ['5xx', 'reset'], perTryTimeoutMs: 50 },
    route: { headTimeoutMs: 120 },
  });
  call.endsOnAbort = endsOnAbort;
  let isCancelled = false;
  const cancel = call.driver.cancel.bind(call.driver);
  call.driver.cancel = (reason) => {
    isCancelled = true;
    // As an adapter does.
    call.attemptLog?.end(reason.code, 'cancelled');
    cancel(reason);
  };
  // Noted and not thrown: the driver would take it for an attempt that cannot be made.
  call.onCreate = () => {
    if (isCancelled || call.failures.length > 0) faults.push('an attempt after the end');
    const isHarmless = options.isIdempotent && options.isReplayable;
    if (!isHarmless && call.attempts.some((one) => one.isSent && !excused.has(one)))
      faults.push('sent again what may have been processed');
  };
  calls.push(call);
  call.begin();
}

function answer({ excused }: World, one: FakeAttempt, { status, mark, isTrusted }: Head): void {
  if (one.hasHead || one.isDiscarded || one.abortedWith !== undefined) return;
  if (status === 503 && mark === 'x-inmesh-nack' && isTrusted) excused.add(one);
  one.head(status, mark === '' ? {} : { [mark]: '1' }, isTrusted);
}

/** Events of one attempt, as an adapter may report them. */
function happen(world: World, one: FakeAttempt, what: Event): void {
  switch (what.kind) {
    case 'sent':
      // What was cut sends nothing more: that much is asked of an adapter.
      if (one.abortedWith === undefined) one.sent();
      break;
    case 'head':
      answer(world, one, what);
      break;
    case 'end':
      if (one.hasHead) one.end();
      break;
    case 'fail':
      if (what.isRefusal) world.excused.add(one);
      one.fail(what.code, what.isRefusal ? { reached: 'refused', retry: 'elsewhere' } : {});
      break;
    case 'begin':
    case 'cancel':
    case 'advance':
      break;
  }
}

async function take(world: World, { event: what, which }: Step): Promise<void> {
  const { calls, cluster } = world;
  if (what.kind === 'begin') begin(world);
  else if (what.kind === 'advance') await cluster.runtime.advance(what.ms);
  else if (what.kind === 'cancel')
    calls[which % Math.max(1, calls.length)]?.driver.cancel(failure('INMESH_ERR_CANCELLED'));
  else {
    const attempts = calls.flatMap((call) => call.attempts).filter((one) => !one.isOver);
    if (attempts.length > 0) happen(world, found(attempts[which % attempts.length]), what);
  }
  const open = calls.flatMap((call) => call.attempts).filter((one) => !one.isOver);
  const active = cluster.state.endpoints.reduce((sum, one) => sum + one.active, 0);
  expect(active).toBe(open.length);
  for (const call of calls) expect(call.failures.length).toBeLessThanOrEqual(1);
}

async function settle({ calls, cluster }: World): Promise<void> {
  for (let round = 0; round < 12; round++) {
    for (const one of calls.flatMap((call) => call.attempts))
      if (!one.isOver) {
        if (one.hasHead) one.end();
        else one.fail('INMESH_ERR_CONNECTION_LOST');
      }
    await cluster.runtime.advance(40);
  }
}

/** Every attempt is told of, every one but the last was followed, and a call that failed says why it was not. */
function checkLog({ attempts, attemptLog, failures }: FakeCall): void {
  const log = found(attemptLog);
  expect(log.attempts.map((one) => one.endpoint)).toEqual(attempts.map((one) => one.endpoint.key));
  for (const [i, { retried, notRetried }] of log.attempts.entries())
    if (i < log.attempts.length - 1) expect([typeof retried, notRetried]).toEqual(['string', undefined]);
    else expect(retried).toBeUndefined();
  if (failures.length > 0) expect(log.notRetried).toBeDefined();
}

/** Every attempt is counted once, by the reason that its log tells. */
function checkCounts({ calls, cluster }: World): void {
  const made = calls.flatMap(({ attemptLog }) =>
    found(attemptLog).attempts.map((_one, i, all) => all[i - 1]?.retried ?? 'first'),
  );
  expect(counted(cluster).map((one) => one.split(' ')[0])).toEqual(made.toSorted());
}

describe('CallDriver', () => {
  it('gives every count back, fails at most once, and sends nothing twice that must not be', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ event, which: fc.nat(20) }), { maxLength: 60, size: 'max' }),
        fc.record({ isIdempotent: fc.boolean(), isReplayable: fc.boolean(), hasDeadline: fc.boolean() }),
        fc.boolean(),
        async (steps, options, endsOnAbort) => {
          const limits = { maxConnections: 9, maxPending: 9, maxRequests: 4 };
          const cluster = createState(createCluster(endpoints(3), { limits }));
          const world: World = { cluster, calls: [], excused: new Set(), faults: [], options, endsOnAbort };
          for (const step of steps) await take(world, step);
          await settle(world);
          expect(world.faults).toEqual([]);
          for (const call of world.calls) checkLog(call);
          checkCounts(world);
          expect(leftovers(cluster)).toEqual(nothingLeft);
          expect([cluster.state.pending, cluster.state.connections]).toEqual([0, 0]);
        },
      ),
      { numRuns: 300 },
    );
  });
});
