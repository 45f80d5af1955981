import type { MeshError } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import { type MeshConfig, type MeshSettings, resolveConfig, settings } from '../src/index.js';

const resolve = (env: Record<string, string>, code?: MeshSettings): MeshConfig =>
  resolveConfig({ env: { INMESH_SERVICE_NAME: 'web', ...env }, code, cwd: '/nonexistent' }).values;
const fault = (env: Record<string, string>, code?: unknown): MeshError => {
  try {
    resolve(env, code as MeshSettings);
  } catch (error) {
    return error as MeshError;
  }
  throw new Error('nothing was refused');
};

describe('settings of outbound calls', () => {
  it('have defaults', () => {
    expect(resolve({})).toMatchObject({
      timeout: 15_000,
      deadline: 0,
      retries: 2,
      perTryTimeout: 0,
      balancer: 'peak-ewma',
      clusterMaxConnections: 1024,
      clusterMaxPending: 1024,
      clusterMaxRequests: 1024,
      locality: undefined,
      dnsInterval: 30_000,
    });
  });

  it('are read from the environment', () => {
    expect(
      resolve({
        INMESH_TIMEOUT: '0',
        INMESH_DEADLINE: '2s',
        INMESH_RETRIES: '0',
        INMESH_RETRY_ON: 'reset, 503,unavailable,503',
        INMESH_PER_TRY_TIMEOUT: '250ms',
        INMESH_BALANCER: 'round-robin',
        INMESH_CLUSTER_MAX_PENDING: '0',
        INMESH_LOCALITY: 'eu-1/a',
        INMESH_DNS_INTERVAL: '5s',
      }),
    ).toMatchObject({
      timeout: 0,
      deadline: 2000,
      retries: 0,
      retryOn: { conditions: ['reset', 'retriable-status-codes', 'unavailable'], statusCodes: [503] },
      perTryTimeout: 250,
      balancer: 'round-robin',
      clusterMaxPending: 0,
      locality: 'eu-1/a',
      dnsInterval: 5000,
    });
  });

  it('are read from code, as text or as values', () => {
    expect(resolve({}, { timeout: '1m', deadline: 5, retries: 3, retryOn: '5xx' })).toMatchObject({
      timeout: 60_000,
      deadline: 5,
      retries: 3,
      retryOn: { conditions: ['5xx'], statusCodes: [] },
    });
    expect(resolve({}, { retryOn: { conditions: ['reset'], statusCodes: [502] } }).retryOn).toEqual({
      conditions: ['reset', 'retriable-status-codes'],
      statusCodes: [502],
    });
  });

  it('print what they parse', () => {
    const values = resolve({});
    for (const { key, kind } of settings) {
      const value = values[key];
      if (value === undefined || key === 'labels' || key === 'probePaths') continue;
      const { print, parse } = kind as {
        print(value: unknown): string;
        parse(text: string): unknown;
      };
      expect([key, parse(print(value))]).toEqual([key, value]);
    }
  });

  it.each([
    ['INMESH_TIMEOUT', '15', 'must be a duration such as 250ms, 2s, 1m or 1h, or 0 for none'],
    [
      'INMESH_TIMEOUT',
      '5',
      'must be a duration such as 250ms, 2s, 1m or 1h, or 0 for none; did you mean 5s or 5ms?',
    ],
    [
      'INMESH_DEADLINE',
      '1.5',
      'must be a duration such as 250ms, 2s, 1m or 1h, or 0 for none; did you mean 1.5s or 1.5ms?',
    ],
    [
      'INMESH_PER_TRY_TIMEOUT',
      '5000',
      'must be a duration such as 250ms, 2s, 1m or 1h, or 0 for none; did you mean 5000ms?',
    ],
    [
      'INMESH_STARTUP_TIMEOUT',
      '30',
      'must be a duration such as 250ms, 2s, 1m or 1h; did you mean 30s or 30ms?',
    ],
    ['INMESH_DNS_INTERVAL', '5', 'must be a duration such as 250ms, 2s, 1m or 1h; did you mean 5s?'],
    ['INMESH_CONNECT_TIMEOUT', '500', 'must be a duration such as 250ms, 2s, 1m or 1h; did you mean 500ms?'],
    ['INMESH_DRAIN_DELAY', '0', 'must be a duration such as 250ms, 2s, 1m or 1h; did you mean 0s or 0ms?'],
    ['INMESH_TIMEOUT', '0.1ms', 'must be from 1ms to 24h, or 0 for none'],
    ['INMESH_DEADLINE', '-1s', 'must be a duration'],
    ['INMESH_DEADLINE', '25h', 'must be from 1ms to 24h, or 0 for none'],
    ['INMESH_RETRIES', '10', 'must be a whole number from 0 to 9'],
    ['INMESH_RETRIES', '1.5', 'must be a whole number from 0 to 9'],
    [
      'INMESH_RETRY_ON',
      'reset,conect-failure',
      '"conect-failure" is no retry condition; did you mean connect-failure?',
    ],
    ['INMESH_RETRY_ON', '5XX', '"5XX" is no retry condition; did you mean 5xx?'],
    ['INMESH_RETRY_ON', '4xx', '"4xx" is no retry condition; did you mean retriable-4xx?'],
    ['INMESH_RETRY_ON', 'sometimes', '"sometimes" is no retry condition; there are 5xx'],
    ['INMESH_RETRY_ON', 'none', '"none" is no retry condition; to send nothing again, set INMESH_RETRIES=0'],
    ['INMESH_RETRY_ON', 'Off', '"Off" is no retry condition; to send nothing again, set INMESH_RETRIES=0'],
    [
      'INMESH_RETRY_ON',
      'false',
      '"false" is no retry condition; to send nothing again, set INMESH_RETRIES=0',
    ],
    ['INMESH_RETRY_ON', '0', '"0" is no retry condition; to send nothing again, set INMESH_RETRIES=0'],
    ['INMESH_RETRY_ON', '100', '100 is no HTTP status from 200 to 599'],
    ['INMESH_BALANCER', 'maglev', 'must be one of peak-ewma, least-request, round-robin, random'],
    ['INMESH_CLUSTER_MAX_REQUESTS', '0', 'must be a whole number from 1 to 4294967295'],
    ['INMESH_LOCALITY', 'a/b/c/d', 'must be region, region/zone or region/zone/subzone'],
    ['INMESH_DNS_INTERVAL', '0s', 'must be from 1s to 24h'],
  ])('refuse %s=%s with what is allowed', (variable, text, message) => {
    expect(fault({ [variable]: text }).message).toContain(`${variable}="${text}": ${message}`);
  });

  it('refuse the same in code, in the words of code', () => {
    for (const retryOn of ['none', false, { conditions: ['none'], statusCodes: [] }])
      expect(fault({}, { retryOn }).message).toContain('to send nothing again, set retries to 0');
    expect(fault({}, { retryOn: { conditions: ['rest'], statusCodes: [] } }).message).toContain(
      'did you mean reset?',
    );
    expect(fault({}, { timeout: '5' }).message).toContain('did you mean 5s or 5ms?');
    const none = { conditions: [], statusCodes: [] };
    expect([resolve({}, { retryOn: '' }).retryOn, resolve({}, { retryOn: none }).retryOn]).toEqual([
      none,
      none,
    ]);
  });

  it.each([1n, Symbol('x'), () => {}, { a: 1n }, Number.NaN, [[]]])(
    'refuse the value %o in code with an error of ours',
    (value) => {
      for (const key of ['timeout', 'retries', 'retryOn', 'balancer', 'locality', 'upstreams', 'routes'])
        expect([key, fault({}, { [key]: value }).code]).toEqual([
          key,
          expect.stringMatching(/^INMESH_ERR_CONFIG_/),
        ]);
    },
  );
});

describe('routes in code', () => {
  it('are kept as they are', () => {
    const list = [{ matches: [{ path: { segments: '/v1' } }], rules: { headTimeoutMs: 1 } }];
    expect(resolve({}, { routes: { orders: list } }).routes.get('orders')).toBe(list);
  });

  it('know names with our own namespace by the short one, backends too', () => {
    const list = [
      { action: { kind: 'forward', backends: [{ cluster: 'cart.default', weight: 1 }, { cluster: 'a.b' }] } },
    ] as const;
    const { routes } = resolve({}, { routes: { 'orders.default': list } });
    expect([...routes]).toEqual([
      [
        'orders',
        [{ action: { kind: 'forward', backends: [{ cluster: 'cart', weight: 1 }, { cluster: 'a.b' }] } }],
      ],
    ]);
    expect(fault({}, { routes: { orders: [], 'orders.default': [] } }).message).toBe(
      'routes.orders and routes.orders.default both say orders',
    );
  });

  it('are checked by name and type, all at once', () => {
    const { message } = fault(
      {},
      {
        routes: {
          Orders: [],
          orders: [
            { match: [], action: { kind: 'froward', backends: [] } },
            { matches: [{ methods: ['get'], path: { prefix: 'v1' } }], action: { kind: 'forward' } },
            { action: { kind: 'redirect', status: 300, path: '/a\r\nx: y' } },
            { request: { set: { 'a b': 'x', c: 'd\n' } }, rules: { retries: 1 } },
          ],
        },
      },
    );
    expect(message.split('\n')).toEqual([
      expect.stringContaining('routes.Orders: must be a DNS label'),
      'routes.orders[0] has no "match"; did you mean matches?',
      'routes.orders[0].action.kind is "froward"; it must be one of forward, redirect, direct',
      'routes.orders[1].matches[0].methods[0] is "get"; it must be a method in capitals, such as GET',
      'routes.orders[1].matches[0].path.prefix is "v1"; it must be a path that begins with "/"',
      'routes.orders[1].action needs "backends"',
      'routes.orders[2].action.status is 300; it must be one of 301, 302, 303, 307, 308',
      expect.stringContaining('routes.orders[2].action.path is "/a\\r\\nx: y"'),
      expect.stringContaining(
        'a name in routes.orders[3].request.set is "a b"; it must be the name of a header',
      ),
      expect.stringContaining('routes.orders[3].request.set["c"] is "d\\n"'),
      'routes.orders[3].rules has no "retries"; there are headTimeoutMs, timeoutMs, retry, idempotent, classify',
    ]);
  });

  it.each([
    ['request', 'Connection', 'one connection'],
    ['request', 'content-length', 'frames the message'],
    ['request', 'Transfer-Encoding', 'frames the message'],
    ['request', 'te', 'one connection'],
    ['response', 'trailer', 'frames the message'],
    ['response', 'upgrade', 'one connection'],
    ['response', 'keep-alive', 'one connection'],
    ['request', 'Proxy-Authorization', 'one connection'],
    ['request', 'Host', 'use rewrite.authority'],
    ['request', ':path', 'pseudo-headers cannot be changed; rewrite.path'],
    ['request', 'grpc-timeout', 'it belongs to gRPC'],
    ['response', 'Grpc-Status', 'it belongs to gRPC'],
    ['request', 'x-inmesh-nack', 'the mesh sets it'],
    ['request', 'X-Envoy-Expected-Rq-Timeout-Ms', 'the mesh sets it'],
    ['request', 'x-envoy-attempt-count', 'the mesh sets it'],
    ['request', 'a!b', 'it must be the name of a header'],
  ])('do not change the %s header %s', (side, name, reason) => {
    for (const edits of [{ set: { [name]: 'x' } }, { add: { [name]: 'x' } }, { remove: [name] }]) {
      const route = { [side]: edits };
      const { message } = fault({}, { routes: { orders: [route] } });
      expect(message).toContain(`${JSON.stringify(name)}`);
      expect(message).toContain(reason);
    }
    const backends = [{ cluster: 'orders', [side]: { remove: [name] } }];
    const route = { action: { kind: 'forward', backends } };
    expect(fault({}, { routes: { orders: [route] } }).message).toContain(reason);
  });

  it.each(['caf\u00e9', 'a\tb', 'a\r\nb', '\u20ac', '\x7f'])(
    'do not set a header to %j, which gRPC cannot carry',
    (text) => {
      expect(fault({}, { routes: { orders: [{ request: { set: { 'x-a': text } } }] } }).message).toContain(
        'visible ASCII',
      );
    },
  );

  it('do not make a call a gRPC call', () => {
    const set = { 'Content-Type': 'application/grpc+proto' };
    expect(fault({}, { routes: { orders: [{ request: { set } }] } }).message).toContain('application/grpc');
  });

  it('change headers of the application', () => {
    const edits = {
      set: { 'X-Canary': 'a b' },
      add: { vary: '' },
      remove: ['server', 'x-powered-by'],
    };
    const list = [{ request: edits, response: edits }];
    expect(resolve({}, { routes: { orders: list } }).routes.get('orders')).toEqual(list);
  });

  it.each(['/a?b=c', '/a#b', '/?', 'a'])('do not rewrite a path to %j', (path) => {
    for (const rewrite of [{ path }, { prefix: path }]) {
      const route = {
        action: {
          kind: 'forward',
          backends: [{ cluster: 'orders' }],
          rewrite,
        },
      };
      expect(fault({}, { routes: { orders: [route] } }).message).toContain('without "?" and "#"');
    }
  });
});
