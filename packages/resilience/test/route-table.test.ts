import {
  FlatHeaders,
  isMeshError,
  type Route,
  type RouteAction,
  type RouteMatch,
  type RouteRules,
} from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import { describe, expect, it } from 'vitest';
import {
  type Answer,
  defaultRetryRules,
  defaultRouteRules,
  editHeaders,
  type Forward,
  type Routed,
  type RoutedRequest,
  RouteTable,
} from '../src/index.js';
import { countBy, found, repeat } from './support.js';

const toOrders: RouteAction = { kind: 'forward', backends: [{ cluster: 'orders' }] };

function route(
  matches: readonly RouteMatch[] | RouteMatch,
  action: RouteAction = toOrders,
  fields: Partial<Route> = {},
): Route {
  return {
    name: 'r1',
    matches: Array.isArray(matches) ? matches : [matches],
    action,
    rules: defaultRouteRules,
    origin: { source: 'code', line: 0, column: 0 },
    ...fields,
  };
}

function request(target: string, fields: Partial<RoutedRequest> = {}, headers: Record<string, string> = {}) {
  return {
    method: 'GET',
    target,
    scheme: 'http',
    authority: 'orders:80',
    header: (name: string) => headers[name],
    ...fields,
  };
}

const { random } = createManualRuntime({ seed: 3 });

function run(routes: readonly Route[], to: RoutedRequest): Routed | undefined {
  return new RouteTable(routes).route(to, random);
}

function matches(match: RouteMatch, to: RoutedRequest): boolean {
  return run([route(match)], to) !== undefined;
}

function forward(action: RouteAction, to: RoutedRequest, match: RouteMatch = {}): Forward {
  const routed = found(run([route(match, action)], to));
  if (routed.kind !== 'forward') throw new Error('answered');
  return routed;
}

function answer(action: RouteAction, to: RoutedRequest, match: RouteMatch = {}): Answer {
  const routed = found(run([route(match, action)], to));
  if (routed.kind !== 'answer') throw new Error('forwarded');
  return routed;
}

describe('what a route matches', () => {
  it.each<[string, RouteMatch['path'], readonly string[], readonly string[]]>([
    ['exact', { exact: '/a' }, ['/a', '/a?x=1', '/a#f'], ['/a/', '/A', '/ab', '/']],
    ['prefix', { prefix: '/a' }, ['/a', '/ab', '/a/b?c'], ['/', '/b/a']],
    ['segments', { segments: '/a' }, ['/a', '/a/', '/a/b', '/a?b'], ['/ab', '/', '/b/a']],
    ['segments with a slash', { segments: '/a/' }, ['/a', '/a/', '/a/b'], ['/ab']],
    ['the root segment', { segments: '/' }, ['/', '/a', '/a/b'], []],
    ['regex', { regex: '/a/[0-9]+' }, ['/a/1', '/a/12?x'], ['/a/', '/a/1x', '/x/a/1', '/a/1/']],
    ['a regex with an alternative', { regex: '/a|/b' }, ['/a', '/b'], ['/ab', '/a/b', '/xb']],
  ])('paths by %s', (_kind, path, good, bad) => {
    for (const target of good) expect(matches({ path: found(path) }, request(target))).toBe(true);
    for (const target of bad) expect(matches({ path: found(path) }, request(target))).toBe(false);
  });

  it('methods, any one of them', () => {
    const match = { methods: ['GET', 'HEAD'] };
    const results = ['GET', 'HEAD', 'POST', 'get'].map((method) => matches(match, request('/', { method })));
    expect(results).toEqual([true, true, false, false]);
  });

  it.each<[string, object, readonly (string | undefined)[], readonly (string | undefined)[]]>([
    ['exact', { exact: 'red' }, ['red'], ['Red', '', undefined]],
    ['prefix', { prefix: 're' }, ['red', 're'], ['r', undefined]],
    ['regex', { regex: 'r.d' }, ['red', 'rod'], ['reed', 'xred', undefined]],
    ['present', { present: true }, ['', 'x'], [undefined]],
    ['nothing but the name', {}, ['', 'x'], [undefined]],
    ['absent', { present: false }, [undefined], ['', 'x']],
    ['inverted exact', { exact: 'red', invert: true }, ['blue', undefined], ['red']],
    ['inverted present', { present: true, invert: true }, [undefined], ['x']],
  ])('headers by %s', (_kind, test, good, bad) => {
    const headers = [{ name: 'X-Team', ...test }];
    const result = (value: string | undefined): boolean =>
      matches({ headers }, request('/', {}, value === undefined ? {} : { 'x-team': value }));
    expect([...good.map(result), ...bad.map(result)]).toEqual([
      ...good.map(() => true),
      ...bad.map(() => false),
    ]);
  });

  it.each<[string, object, readonly string[], readonly string[]]>([
    [
      'exact',
      { exact: '1' },
      ['/?v=1', '/?a=b&v=1', '/?v=1&v=2', '/?%76=1'],
      ['/', '/?v=', '/?v=11', '/?w=1'],
    ],
    ['prefix', { prefix: '1' }, ['/?v=11'], ['/?v=21']],
    ['regex', { regex: '[12]' }, ['/?v=2'], ['/?v=12']],
    ['present', { present: true }, ['/?v', '/?v=x'], ['/', '/?w']],
    ['absent', { present: false }, ['/', '/?w'], ['/?v']],
  ])('query parameters by %s', (_kind, test, good, bad) => {
    const query = [{ name: 'v', ...test }];
    for (const target of good) expect(matches({ query }, request(target))).toBe(true);
    for (const target of bad) expect(matches({ query }, request(target))).toBe(false);
  });

  it('only what fulfils everything of one alternative', () => {
    const alternatives = [
      { path: { prefix: '/a' }, methods: ['GET'] },
      { path: { prefix: '/b' }, headers: [{ name: 'x', exact: '1' }] },
    ];
    const result = (to: RoutedRequest): boolean => run([route(alternatives)], to) !== undefined;
    expect([
      result(request('/a')),
      result(request('/a', { method: 'PUT' })),
      result(request('/b')),
      result(request('/b', { method: 'PUT' }, { x: '1' })),
    ]).toEqual([true, false, false, true]);
  });

  it('everything without matches, the first route that fits, nothing when none does', () => {
    const to = (cluster: string): RouteAction => ({ kind: 'forward', backends: [{ cluster }] });
    const table = [
      route({ path: { exact: '/a' } }, to('one')),
      route({ path: { prefix: '/a' } }, to('two')),
      route([], to('three')),
    ];
    const clusterOf = (target: string): string | undefined => {
      const routed = run(table, request(target));
      return routed?.kind === 'forward' ? routed.cluster : undefined;
    };
    expect(['/a', '/ab', '/x'].map(clusterOf)).toEqual(['one', 'two', 'three']);
    expect(run(table.slice(0, 2), request('/x'))).toBeUndefined();
  });
});

describe('where a route sends calls', () => {
  it('leaves the request as it is', () => {
    const { target, authority, request: edits, response, policy } = forward(toOrders, request('/a?b'));
    expect([target, authority, edits, response, policy.rules]).toEqual([
      undefined,
      undefined,
      [],
      [],
      defaultRouteRules,
    ]);
  });

  it('spreads calls by weight, and gives nothing to a weight of 0', () => {
    const table = new RouteTable([
      route([], {
        kind: 'forward',
        backends: [
          { cluster: 'zero', weight: 0 },
          { cluster: 'a', weight: 9 },
          { cluster: 'b' },
          { cluster: 'none', weight: 0 },
        ],
      }),
    ]);
    const names = repeat(20_000, () => {
      const routed = table.route(request('/'), random);
      return routed?.kind === 'forward' ? routed.cluster : '';
    });
    const counts = countBy(names);
    expect([...counts.keys()].sort()).toEqual(['a', 'b']);
    expect((counts.get('b') ?? 0) / 20_000).toBeCloseTo(0.1, 1);
  });

  it.each<[object, RouteMatch['path'] | undefined, string, string]>([
    [{ path: '/new' }, undefined, '/old/x?q=1', '/new?q=1'],
    [{ prefix: '/new' }, { prefix: '/old' }, '/old/x?q', '/new/x?q'],
    [{ prefix: '/new' }, { prefix: '/old/' }, '/old/x', '/newx'],
    [{ prefix: '/new' }, { segments: '/old' }, '/old/x', '/new/x'],
    [{ prefix: '/new/' }, { segments: '/old' }, '/old/x', '/new/x'],
    [{ prefix: '/new' }, { segments: '/old/' }, '/old', '/new'],
    [{ prefix: '/' }, { segments: '/old' }, '/old', '/'],
    [{ prefix: '/' }, { segments: '/old' }, '/old?q', '/?q'],
    [{ prefix: '/' }, { segments: '/old' }, '/old/x', '/x'],
    [{ prefix: '' }, { segments: '/old' }, '/old', '/'],
    [{ prefix: '/api' }, { segments: '/' }, '/x', '/api/x'],
  ])('rewrites by %j, matched by %j, %s to %s', (rewrite, path, from, to) => {
    const action: RouteAction = { kind: 'forward', backends: [{ cluster: 'a' }], rewrite };
    expect(forward(action, request(from), path === undefined ? {} : { path }).target).toBe(to);
  });

  it('rewrites the authority', () => {
    const action: RouteAction = {
      ...toOrders,
      kind: 'forward',
      backends: [{ cluster: 'a' }],
      rewrite: { authority: 'b' },
    };
    expect(forward(action, request('/'))).toMatchObject({ authority: 'b', target: undefined });
  });

  it('edits headers of route and backend, from the outside in and back', () => {
    const edits = (value: string) => ({ set: { x: value } });
    const routed = run(
      [
        route(
          [],
          { kind: 'forward', backends: [{ cluster: 'a', request: edits('b'), response: edits('c') }] },
          { request: edits('a'), response: edits('d') },
        ),
      ],
      request('/'),
    );
    expect(routed).toMatchObject({
      request: [edits('a'), edits('b')],
      response: [edits('c'), edits('d')],
    });
  });
});

describe('routes that answer', () => {
  it.each<
    [Omit<Extract<RouteAction, { kind: 'redirect' }>, 'kind'>, RouteMatch['path'] | undefined, number, string]
  >([
    [{}, undefined, 301, 'http://orders:80/a/b?c'],
    [{ status: 308, scheme: 'https' }, undefined, 308, 'https://orders:80/a/b?c'],
    [{ authority: 'other' }, undefined, 301, 'http://other/a/b?c'],
    [{ path: '/x' }, undefined, 301, 'http://orders:80/x?c'],
    [{ prefix: '/x' }, { segments: '/a' }, 301, 'http://orders:80/x/b?c'],
  ])('redirects by %j', (fields, path, status, location) => {
    const { reply } = answer(
      { kind: 'redirect', ...fields },
      request('/a/b?c'),
      path === undefined ? {} : { path },
    );
    expect(reply).toEqual({ httpStatus: status, headers: [['location', location]] });
  });

  it('answers with a status and a body', () => {
    expect(answer({ kind: 'direct', status: 404 }, request('/')).reply).toEqual({ httpStatus: 404 });
    expect(answer({ kind: 'direct', status: 503, body: 'later' }, request('/')).reply).toEqual({
      httpStatus: 503,
      headers: [['content-type', 'text/plain']],
      body: 'later',
    });
  });
});

describe('routes that are wrong', () => {
  const rules = (retry: object, rest: object = {}): { rules: RouteRules } => ({
    rules: { ...defaultRouteRules, ...rest, retry: { ...defaultRetryRules, ...retry } },
  });
  const to = (fields: object): RouteAction => ({
    kind: 'forward',
    backends: [{ cluster: 'orders' }],
    ...fields,
  });

  it.each<[string, RouteMatch, RouteAction, Partial<Route>]>([
    ['two kinds of text', { path: { exact: '/', prefix: '/' } }, toOrders, {}],
    ['segments and another', { path: { segments: '/', regex: '/' } }, toOrders, {}],
    ['a bad pattern', { path: { regex: '(' } }, toOrders, {}],
    ['a pattern without bound', { path: { regex: '(a+)+' } }, toOrders, {}],
    ['a long pattern', { path: { regex: 'a'.repeat(1025) } }, toOrders, {}],
    ['a header without name', { headers: [{ name: '' }] }, toOrders, {}],
    ['a bad header pattern', { headers: [{ name: 'x', regex: '[' }] }, toOrders, {}],
    ['a bad query', { query: [{ name: 'x', exact: '', regex: '' }] }, toOrders, {}],
    ['no backend', {}, to({ backends: [] }), {}],
    ['weights that sum to 0', {}, to({ backends: [{ cluster: 'orders', weight: 0 }] }), {}],
    ['a negative weight', {}, to({ backends: [{ cluster: 'orders', weight: -1 }] }), {}],
    ['a weight that is no number', {}, to({ backends: [{ cluster: 'orders', weight: Number.NaN }] }), {}],
    ['an unknown backend', {}, to({ backends: [{ cluster: 'nobody' }] }), {}],
    ['two rewrites', { path: { prefix: '/' } }, to({ rewrite: { path: '/', prefix: '/' } }), {}],
    ['a prefix that is not matched', { path: { exact: '/' } }, to({ rewrite: { prefix: '/' } }), {}],
    ['a redirect of no prefix', {}, { kind: 'redirect', prefix: '/' }, {}],
    ['a status below 200', {}, { kind: 'direct', status: 100 }, {}],
    ['a status that is no integer', {}, { kind: 'direct', status: 200.5 }, {}],
    ['0 attempts', {}, toOrders, rules({ maxAttempts: 0 })],
    ['1.5 attempts', {}, toOrders, rules({ maxAttempts: 1.5 })],
    ['11 attempts', {}, toOrders, rules({ maxAttempts: 11 })],
    ['a negative time per try', {}, toOrders, rules({ perTryTimeoutMs: -1 })],
    ['a negative timeout', {}, toOrders, rules({}, { timeoutMs: -1 })],
    ['an endless time to the head', {}, toOrders, rules({}, { headTimeoutMs: Number.POSITIVE_INFINITY })],
    ['an unknown condition', {}, toOrders, rules({ conditions: ['sometimes'] })],
    ['a status that is none', {}, toOrders, rules({ statusCodes: [199] })],
    [
      'a bad reply header',
      {},
      toOrders,
      rules({ conditions: ['retriable-headers'], replyHeaders: [{ name: '' }] }),
    ],
    ['retriable-headers without headers', {}, toOrders, rules({ conditions: ['retriable-headers'] })],
    ['nonIdempotent without statuses', {}, toOrders, rules({ nonIdempotent: true, conditions: ['5xx'] })],
    ['a wait of 0', {}, toOrders, rules({ backoff: { baseMs: 0, maxMs: 10 } })],
    ['waits upside down', {}, toOrders, rules({ backoff: { baseMs: 20, maxMs: 10 } })],
    ['a body of half a byte', {}, toOrders, rules({ maxBodyBytes: 0.5 })],
    ['negative repicks', {}, toOrders, rules({ repicks: -1 })],
    ['a long Retry-After', {}, toOrders, rules({ maxRetryAfterMs: 1e9 })],
  ])('refuses %s, and names the route', (_what, match, action, fields) => {
    let error: unknown;
    try {
      new RouteTable([route(match, action, fields)], new Set(['orders']));
    } catch (thrown) {
      error = thrown;
    }
    expect(isMeshError(error) && error.code).toBe('INMESH_ERR_CONFIG_INVALID');
    expect(isMeshError(error) && error.message).toContain('route "r1"');
  });

  it('takes a backoff of the user as it is', () => {
    expect(() => new RouteTable([route({}, toOrders, rules({ backoff: () => 1 }))])).not.toThrow();
  });
});

describe('editHeaders', () => {
  it('sets, adds, removes, in that order', () => {
    const headers = new FlatHeaders(['a', '1', 'a', '2', 'b', '3', 'c', '4']);
    editHeaders(headers, [{ remove: ['c'], add: { b: '5', c: '6' }, set: { a: '9' } }, { set: { d: '7' } }]);
    expect(headers.all('a')).toEqual(['9']);
    expect(headers.all('b')).toEqual(['3', '5']);
    expect([headers.get('c'), headers.get('d')]).toEqual([undefined, '7']);
  });
});
