import { type MeshSettings, resolveConfig } from '@inmesh/config';
import { type Endpoint, isMeshError, MeshError, silentLogger, WatchSource } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import { defaultClusterRules, defaultOutlierRules, defaultRouteRules, roundRobin } from '@inmesh/resilience';
import { describe, expect, it } from 'vitest';
import { buildTraffic, type Traffic, type TrafficParts } from '../src/traffic.js';

const build = (
  code: MeshSettings = {},
  env: Record<string, string> = {},
  parts: Partial<TrafficParts> = {},
): Promise<Traffic> => {
  const config = resolveConfig({
    env: { INMESH_SERVICE_NAME: 'web', ...env },
    code,
    cwd: '/nonexistent',
  });
  return buildTraffic(config, { runtime: createManualRuntime(), logger: silentLogger, ...parts });
};
const fault = async (...args: Parameters<typeof build>): Promise<readonly string[]> => {
  try {
    await build(...args);
  } catch (error) {
    if (isMeshError(error) && error.code === 'INMESH_ERR_CONFIG_INVALID') return error.message.split('\n');
    throw error;
  }
  throw new Error('nothing was refused');
};
const upstreams = (rules: unknown, calls: unknown = {}): MeshSettings =>
  ({ upstreams: { orders: { endpoints: '10.0.0.1:1', rules, calls } } }) as MeshSettings;

describe('rules', () => {
  it('are those of resilience where nothing is configured', async () => {
    const { clusters } = await build({ upstreams: { orders: '10.0.0.1:1' } });
    expect(clusters.get('orders')?.rules).toEqual(defaultClusterRules);
    expect(clusters.get('orders')?.routeRules).toEqual(defaultRouteRules);
  });

  it('come from the settings, then from the upstream', async () => {
    const { clusters } = await build(
      {
        upstreams: {
          orders: {
            endpoints: '10.0.0.1:1',
            rules: { balancer: 'random', limits: { maxPending: 5 } },
            calls: { timeoutMs: 150, retry: { maxAttempts: 1 } },
          },
          cart: '10.0.0.2:1',
        },
      },
      {
        INMESH_TIMEOUT: '1s',
        INMESH_DEADLINE: '2s',
        INMESH_RETRIES: '4',
        INMESH_RETRY_ON: '5xx,409',
        INMESH_PER_TRY_TIMEOUT: '100ms',
        INMESH_BALANCER: 'round-robin',
        INMESH_CLUSTER_MAX_REQUESTS: '7',
      },
    );
    expect(clusters.get('cart')).toMatchObject({
      rules: { balancer: 'round-robin', limits: { maxConnections: 1024, maxPending: 1024, maxRequests: 7 } },
      routeRules: {
        headTimeoutMs: 1000,
        timeoutMs: 2000,
        retry: {
          maxAttempts: 5,
          conditions: ['5xx', 'retriable-status-codes'],
          statusCodes: [409],
          perTryTimeoutMs: 100,
        },
      },
    });
    expect(clusters.get('orders')).toMatchObject({
      rules: { balancer: 'random', limits: { maxConnections: 1024, maxPending: 5, maxRequests: 7 } },
      routeRules: { headTimeoutMs: 1000, timeoutMs: 150, retry: { maxAttempts: 1, perTryTimeoutMs: 100 } },
    });
  });

  it('share one object where nothing differs, so that they are compiled once', async () => {
    const { clusters } = await build({ upstreams: { a: '10.0.0.1:1', b: '10.0.0.1:1' } });
    expect(clusters.get('a')?.routeRules).toBe(clusters.get('b')?.routeRules);
  });

  it('turn off with false, and on with a part', async () => {
    const off = await build(upstreams({ outlier: false }));
    expect(off.clusters.get('orders')?.rules.outlier).toBeUndefined();
    const on = await build(
      upstreams({
        outlier: { consecutive5xx: 9 },
        slowStart: { windowMs: 5 },
        retryConcurrency: {},
        localityWeights: { 'eu/a': 3 },
      }),
    );
    expect(on.clusters.get('orders')?.rules).toMatchObject({
      outlier: { ...defaultOutlierRules, consecutive5xx: 9 },
      slowStart: { windowMs: 5, aggression: 1, minWeightPercent: 10 },
      retryConcurrency: { budgetPercent: 20, minRetries: 3 },
      localityWeights: { 'eu/a': 3 },
    });
  });

  it('take waits of your own, and bound waits at ten times the first', async () => {
    const backoffOf = async (backoff: unknown): Promise<unknown> =>
      (await build(upstreams({}, { retry: { backoff } }))).clusters.get('orders')?.routeRules.retry.backoff;
    const own = (): number => 5;
    expect(await backoffOf(own)).toBe(own);
    expect(await backoffOf({ baseMs: 500 })).toEqual({ baseMs: 500, maxMs: 5000 });
    expect(await backoffOf({ maxMs: 30 })).toEqual({ baseMs: 25, maxMs: 30 });
  });

  it('take statuses and headers as conditions of their own', async () => {
    const conditionsOf = async (retry: unknown): Promise<unknown> =>
      (await build(upstreams({}, { retry }), { INMESH_RETRY_ON: 'reset' })).clusters.get('orders')?.routeRules
        .retry.conditions;
    expect(await conditionsOf({})).toEqual(['reset']);
    expect(await conditionsOf({ statusCodes: [503] })).toEqual(['reset', 'retriable-status-codes']);
    expect(await conditionsOf({ conditions: ['5xx'], statusCodes: [409] })).toEqual([
      '5xx',
      'retriable-status-codes',
    ]);
    expect(await conditionsOf({ conditions: ['retriable-status-codes'], statusCodes: [409] })).toEqual([
      'retriable-status-codes',
    ]);
    expect(await conditionsOf({ replyHeaders: [{ name: 'x-again' }] })).toEqual([
      'reset',
      'retriable-headers',
    ]);
    expect(await conditionsOf({ statusCodes: [] })).toEqual(['reset']);
  });

  it('are refused where one makes another void, with both values', async () => {
    expect(
      await fault(
        {
          upstreams: {
            a: { endpoints: '10.0.0.1:1', calls: { timeoutMs: 99 } },
            b: { endpoints: '10.0.0.1:1', rules: { localityWeights: { 'eu/a': 0, 'eu/b': 0 } } },
            c: { endpoints: '10.0.0.1:1' },
          },
          routes: { c: [{ rules: { retry: { perTryTimeoutMs: 30_000 } } }, {}] },
        },
        { INMESH_PER_TRY_TIMEOUT: '100ms' },
      ),
    ).toEqual([
      'upstreams.a.calls: retry.perTryTimeoutMs is 100 (INMESH_PER_TRY_TIMEOUT), timeoutMs is 99; an attempt must not have longer than the call',
      'upstreams.b.rules: the weights of localityWeights sum to 0: "eu/a" 0, "eu/b" 0; false turns them off',
      'routes.c[0].rules: retry.perTryTimeoutMs is 30000, headTimeoutMs is 15000; an attempt must not have longer than the call',
    ]);
    expect(
      await fault(
        { upstreams: { a: '10.0.0.1:1' } },
        { INMESH_PER_TRY_TIMEOUT: '20s', INMESH_DEADLINE: '1s' },
      ),
    ).toEqual([
      'INMESH_PER_TRY_TIMEOUT is 20000 ms, INMESH_TIMEOUT is 15000 ms by default; an attempt must not have longer than the call',
      'INMESH_PER_TRY_TIMEOUT is 20000 ms, INMESH_DEADLINE is 1000 ms; an attempt must not have longer than the call',
    ]);
    expect(await fault({ perTryTimeout: '20s' }, { INMESH_DEADLINE: '1s' })).toEqual([
      'perTryTimeout is 20000 ms, timeout is 15000 ms by default; an attempt must not have longer than the call',
      'perTryTimeout is 20000 ms, INMESH_DEADLINE is 1000 ms; an attempt must not have longer than the call',
    ]);
    expect(
      await fault(
        { upstreams: { a: { endpoints: '10.0.0.1:1', calls: { retry: { perTryTimeoutMs: 30_000 } } } } },
        { INMESH_TIMEOUT: '10s', INMESH_DEADLINE: '20s' },
      ),
    ).toEqual([
      'upstreams.a.calls: retry.perTryTimeoutMs is 30000, headTimeoutMs is 10000 (INMESH_TIMEOUT); an attempt must not have longer than the call',
      'upstreams.a.calls: retry.perTryTimeoutMs is 30000, timeoutMs is 20000 (INMESH_DEADLINE); an attempt must not have longer than the call',
    ]);
    await build({ upstreams: { a: '10.0.0.1:1' } }, { INMESH_PER_TRY_TIMEOUT: '20s', INMESH_TIMEOUT: '0' });
  });

  it('are refused with every impossible value at once', async () => {
    expect(
      await fault({
        upstreams: {
          a: { endpoints: '10.0.0.1:1', rules: { choices: 1 }, calls: { retry: { maxAttempts: 0 } } },
          b: { endpoints: '10.0.0.1:1', calls: { headTimeoutMs: -1 } },
        },
        routes: { a: [{ rules: { timeoutMs: Number.POSITIVE_INFINITY } }] },
      }),
    ).toEqual([
      'upstreams.a.rules: choices is 1; it must be a whole number from 2 to 10',
      'upstreams.a.calls: retry.maxAttempts is 0; it must be a whole number from 1 to 10',
      'upstreams.b.calls: headTimeoutMs is -1; it must be a number from 0 to 86400000',
      expect.stringContaining('timeoutMs is Infinity'),
    ]);
  });
});

describe('routes', () => {
  it('are completed: name, matches, action, rules, origin', async () => {
    const { routes } = await build({
      ...upstreams({}, { timeoutMs: 50, retry: { maxAttempts: 2 } }),
      routes: { orders: [{ rules: { retry: { repicks: 0 } } }, { name: 'rest' }] },
    });
    const [first, rest] = routes.get('orders') ?? [];
    expect(first).toMatchObject({
      name: 'orders[0]',
      matches: [],
      action: { kind: 'forward', backends: [{ cluster: 'orders' }] },
      rules: { headTimeoutMs: 15_000, timeoutMs: 50, retry: { maxAttempts: 2, repicks: 0 } },
      origin: { source: 'code' },
    });
    expect(rest?.name).toBe('rest');
  });

  it('may stand for a name that has no upstream', async () => {
    const { routes } = await build({
      ...upstreams({}),
      routes: { shop: [{ action: { kind: 'forward', backends: [{ cluster: 'orders', weight: 1 }] } }] },
    });
    expect([...routes.keys()]).toEqual(['shop']);
  });

  it('are none where the list is empty', async () => {
    const { routes } = await build({ ...upstreams({}), routes: { orders: [] } });
    expect(routes.size).toBe(0);
  });

  it('are refused with every mistake at once', async () => {
    const problems = await fault({
      ...upstreams({}),
      routes: {
        orders: [
          { action: { kind: 'forward', backends: [] } },
          { action: { kind: 'forward', backends: [{ cluster: 'order' }] } },
          { action: { kind: 'forward', backends: [{ cluster: 'orders', weight: 0 }] } },
          { matches: [{ path: { regex: '(' } }] },
          { action: { kind: 'direct', status: 199 } },
        ],
        shop: [{}],
      },
    });
    expect(problems).toEqual([
      'routes.orders[0]: route "orders[0]": it has no backend',
      'routes.orders[1]: route "orders[1]": its backend "order" is not configured',
      'routes.orders[2]: route "orders[2]": the weights of its backends sum to 0',
      expect.stringContaining('routes.orders[3]: route "orders[3]": "(" is no regular expression'),
      'routes.orders[4]: route "orders[4]": status 199 is not from 200 to 599',
      'routes.shop[0]: route "shop[0]": its backend "shop" is not configured',
    ]);
  });
});

describe('endpoints', () => {
  it('are there at once as addresses, and nothing is looked up', async () => {
    const { clusters, sources } = await build({ upstreams: { orders: '10.0.0.1:1,[::1]:2' } });
    expect(clusters.get('orders')?.endpoints.current()).toEqual([
      { host: '10.0.0.1', port: 1 },
      { host: '::1', port: 2 },
    ]);
    expect(sources.size).toBe(0);
  });

  it('come from a source of your own, which stays open', async () => {
    const watch = new WatchSource<readonly Endpoint[]>();
    const { clusters, closeUnless } = await build({
      upstreams: { orders: { endpoints: watch } },
    });
    const endpoints = clusters.get('orders')?.endpoints;
    expect(endpoints?.state).toMatchObject({ kind: 'pending' });
    watch.set([{ host: '10.0.0.1', port: 1 }]);
    expect(endpoints?.current()).toEqual([{ host: '10.0.0.1', port: 1 }]);
    watch.fail(new Error('away'));
    expect(endpoints?.state).toMatchObject({
      kind: 'ready',
      error: { message: 'away' },
    });
    watch.set([]);
    expect(endpoints?.current()).toEqual([]);
    watch.withdraw(new MeshError('INMESH_ERR_NO_ENDPOINT', 'over'));
    expect(endpoints?.state).toMatchObject({
      kind: 'gone',
      error: { message: 'over' },
    });
    closeUnless();
    watch.set([{ host: '10.0.0.1', port: 1 }]);
    expect(endpoints?.state.kind).toBe('gone');
    expect(watch.state.kind).toBe('ready');
  });

  it.each([
    [[{ host: undefined, port: 1 }], 'upstreams.orders.endpoints[0] needs "host"'],
    [[{ host: 'h', port: 0 }], 'upstreams.orders.endpoints[0].port is 0'],
    [[{ host: 'h', port: 1, weight: Number.NaN }], 'upstreams.orders.endpoints[0].weight is NaN'],
    [[{ host: 'h', port: 1, priority: -1 }], 'upstreams.orders.endpoints[0].priority is -1'],
    [[{ host: 'h', port: 1, locality: '/' }], 'upstreams.orders.endpoints[0].locality is "/"'],
    [[{ host: 'h', port: 1, weight: 0 }], 'the weights of upstreams.orders.endpoints sum to 0'],
    [
      [
        { host: 'h', port: 1, weight: 0 },
        { host: 'h', port: 2, priority: 1 },
      ],
      'the weights of upstreams.orders.endpoints with priority 0, the first, sum to 0',
    ],
    [[null], 'upstreams.orders.endpoints[0] is null'],
    [undefined, 'upstreams.orders.endpoints is undefined; it must be an array'],
  ])(
    'from a source of your own are refused at start, and later the last good ones stay: %j',
    async (value, problem) => {
      const watch = new WatchSource<readonly Endpoint[]>();
      const logged: unknown[] = [];
      const logger = {
        ...silentLogger,
        error: (...args: unknown[]) => void logged.push(args),
      };
      const options = { upstreams: { orders: { endpoints: watch } } };
      const { clusters } = await build(options, {}, { logger });
      watch.set([{ host: '10.0.0.1', port: 1 }]);
      watch.set(value as never);
      watch.set(value as never);
      expect(clusters.get('orders')?.endpoints.state).toMatchObject({
        kind: 'ready',
        value: [{ host: '10.0.0.1', port: 1 }],
        error: {
          code: 'INMESH_ERR_CONFIG_INVALID',
          message: expect.stringContaining(problem) as string,
        },
      });
      expect(logged).toHaveLength(1);
      expect(await fault(options)).toEqual([expect.stringContaining(problem)]);
      watch.set([{ host: '10.0.0.2', port: 1 }]);
      expect(clusters.get('orders')?.endpoints.state).toMatchObject({
        value: [{ host: '10.0.0.2' }],
        error: undefined,
      });
    },
  );

  it('are looked up by name without waiting for the answer, and again on demand', async () => {
    const runtime = createManualRuntime();
    let answer: readonly { address: string }[] = [];
    const lookup = (): Promise<readonly { address: string }[]> => Promise.resolve(answer);
    const { clusters, sources, closeUnless } = await build(
      { upstreams: { orders: 'h:1', cart: '10.0.0.1:1' } },
      {},
      { runtime, dns: { lookup } },
    );
    await runtime.advance(0);
    const state = (): unknown => clusters.get('orders')?.endpoints.state;
    expect(state()).toMatchObject({ kind: 'pending', error: { code: 'INMESH_ERR_NO_ENDPOINT' } });
    answer = [{ address: '10.0.0.5' }];
    expect([...sources.keys()]).toEqual(['orders']);
    sources.get('orders')?.refresh();
    await runtime.advance(1000);
    expect(state()).toMatchObject({ kind: 'ready', value: [{ host: '10.0.0.5', port: 1 }] });
    closeUnless();
    expect(runtime.armed).toBe(0);
  });

  it('keep whoever starts waiting for the first answer or failure of every lookup, and not for ever', async () => {
    const runtime = createManualRuntime();
    const asked = new Map<string, (addresses: readonly { address: string }[]) => void>();
    const lookup = (host: string): Promise<readonly { address: string }[]> =>
      host === 'nowhere'
        ? Promise.reject(new Error('ENOTFOUND'))
        : new Promise((done) => asked.set(host, done));
    const warnings: unknown[] = [];
    const logger = { ...silentLogger, warn: (...args: unknown[]) => void warnings.push(args) };
    const upstreams = { orders: 'h:1', cart: '10.0.0.1:1', none: 'nowhere:1' };
    const { clusters, lookedUp, closeUnless } = await build(
      { upstreams },
      {},
      { runtime, logger, dns: { lookup } },
    );
    let isOver = false;
    const over = lookedUp(5000).then(() => (isOver = true));
    await runtime.advance(4000);
    expect(isOver).toBe(false);
    asked.get('h')?.([{ address: '10.0.0.5' }]);
    await over;
    expect(clusters.get('orders')?.endpoints.state.kind).toBe('ready');
    closeUnless();
    expect(runtime.armed).toBe(0);
    const slow = await build({ upstreams: { orders: 'h:1' } }, {}, { runtime, logger, dns: { lookup } });
    warnings.length = 0;
    const waited = slow.lookedUp(5000);
    await runtime.advance(5000);
    await waited;
    expect(warnings).toEqual([
      [{ cluster: 'orders', timeoutMs: 5000 }, expect.stringContaining('not been found')],
    ]);
    slow.closeUnless();
  });

  it('are not looked up if something is wrong', async () => {
    const asked: string[] = [];
    const lookup = (host: string): Promise<readonly { address: string }[]> => {
      asked.push(host);
      return Promise.resolve([]);
    };
    await fault(
      { upstreams: { a: 'h:1', b: { endpoints: 'h:1', rules: { choices: 0 } } } },
      {},
      { dns: { lookup } },
    );
    expect(asked).toEqual([]);
  });
});

describe('balancers in code', () => {
  it('are refused for upstreams that do not exist, and if they are no functions', async () => {
    expect(await fault(upstreams({}), {}, { balancers: { cart: roundRobin } })).toEqual([
      'balancers.cart: there is no upstream "cart"',
    ]);
    expect(await fault(upstreams({}), {}, { balancers: { orders: 'maglev' } as never })).toEqual([
      'balancers.orders must be a function',
    ]);
  });
});
