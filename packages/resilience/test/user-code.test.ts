import { describe, expect, it } from 'vitest';
import { defaultRouteRules, RouteTable } from '../src/index.js';
import {
  counted,
  createCall,
  createCluster,
  createState,
  endpoints,
  FakeCall,
  failure,
  leftovers,
  nothingLeft,
} from './support.js';

const boom = (): never => {
  throw new Error('boom');
};

describe('functions of the application that throw', () => {
  it('lets a call wait as by default when its backoff throws, and says so once', async () => {
    const cluster = createState(createCluster(endpoints(2), { outlier: undefined }));
    for (let i = 0; i < 2; i++) {
      const call = new FakeCall(cluster, { retry: { conditions: ['5xx'], backoff: boom } }).begin();
      expect(call.last.sent().head(503)).toBe(false);
      await cluster.runtime.advance(100);
      call.last.sent().head(200);
      call.last.end();
      expect([call.attempts.length, call.failures]).toEqual([2, []]);
    }
    expect(leftovers(cluster)).toEqual(nothingLeft);
    expect(cluster.lines.filter(({ message }) => message.includes('threw'))).toHaveLength(1);
  });

  it('goes by the conditions when a classifier throws', () => {
    const cluster = createState(createCluster(endpoints(2)));
    const call = new FakeCall(cluster, { route: { classify: boom } }).begin();
    expect(call.last.sent().head(200)).toBe(true);
    call.last.end();
    expect(leftovers(cluster)).toEqual(nothingLeft);
    expect(cluster.lines.at(-1)?.fields['what']).toBe('classifier');
  });

  it.each([
    ['throws when it is made', boom],
    ['throws when it picks', () => ({ pick: boom })],
    ['picks nothing', () => ({ pick: () => undefined as never })],
  ])('picks by chance when a balancer %s', (_how, balancer) => {
    const cluster = createState(createCluster(endpoints(3)), { balancers: { orders: balancer } });
    const call = new FakeCall(cluster).begin();
    call.last.sent().head(200);
    call.last.end();
    expect([call.failures, leftovers(cluster)]).toEqual([[], nothingLeft]);
    expect(cluster.lines.at(-1)?.fields['what']).toBe('balancer');
  });
});

describe('functions of the application that end the call they are asked about', () => {
  it.each([
    ['a classifier, of a failure', 'classify', 503, {}],
    ['a classifier, of what was not processed', 'classify', 503, { 'x-inmesh-nack': '1' }],
    ['a classifier, of a good reply', 'classify', 200, {}],
    ['a backoff, of a reply', 'backoff', 503, {}],
    ['a backoff, of an error', 'backoff', undefined, {}],
  ] as const)('are followed by nothing: %s', async (_which, where, status, headers) => {
    let leave = (): void => {};
    const retry = { conditions: ['5xx', 'reset'] } as const;
    const backoff = (): number => {
      leave();
      return 5;
    };
    const classify = (): undefined => leave() as undefined;
    const { cluster, call } = createCall(
      where === 'backoff' ? { retry: { ...retry, backoff } } : { retry, route: { classify } },
    );
    leave = () => call.driver.cancel(failure('INMESH_ERR_CANCELLED'));
    call.begin().last.sent();
    if (status === undefined) call.last.fail('INMESH_ERR_CONNECTION_LOST');
    else expect(call.last.head(status, headers)).toBe(false);
    await cluster.runtime.advance(100);
    expect([call.attempts.length, call.failures]).toEqual([1, []]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
    expect(counted(cluster)).toEqual([status === undefined ? 'first local-error' : 'first cancelled']);
  });

  it('are followed by nothing: who is told that nobody can be reached', async () => {
    const onUnreachable = (): void => call.driver.cancel(failure('INMESH_ERR_CANCELLED'));
    const cluster = createState(createCluster(endpoints(2)), { onUnreachable });
    const call = new FakeCall(cluster).begin();
    call.last.fail('INMESH_ERR_CONNECT_FAILED', { reached: 'no', retry: 'elsewhere' });
    await cluster.runtime.advance(100);
    expect([call.attempts.length, call.failures]).toEqual([1, []]);
    expect(leftovers(cluster)).toEqual(nothingLeft);
  });
});

describe('patterns of routes', () => {
  const table = (regex: string): RouteTable =>
    new RouteTable([
      {
        name: 'one',
        matches: [{ path: { regex } }],
        action: { kind: 'direct', status: 200 },
        rules: defaultRouteRules,
        origin: { source: 'code', line: 0, column: 0 },
      },
    ]);

  it.each([
    '(a+)+b',
    '((a+))+b',
    '(a|a)*b',
    '(?:a{1,}){1,}b',
    '(a*)*',
    '([a-z]+x?)+',
    'a)|(.*',
    '(a)\\1',
    '.*.*.*x',
    '(?<n>a)\\k<n>',
    // What may be there or not is a choice, too.
    '/(?:[a-z0-9][a-z0-9-]?){1,63}',
    '(?:aa?){0,40}b',
    '(a??)*b',
    // Written for RE2, in which they mean something else.
    '/[[:digit:]]+',
    '/[^[:alpha:]]',
    '/\\pL+',
    '\\A/x\\z',
    '/\\Qa.b\\E',
  ])('refuse %s', (regex) => {
    expect(() => table(regex)).toThrow('is no regular expression');
  });

  it.each([
    ['/v[0-9]+/items/[^/]+', '/v1/items/42', true],
    ['/(?:a|b)/x', '/b/x', true],
    ['/(?:ab){2}', '/abab', true],
    ['/\\(.*\\)', '/(x)', true],
    ['/[(*+]+', '/(+*', true],
    ['/a', '/ab', false],
    ['/v1(?:/items)?', '/v1', true],
    ['/(?:a?b)c', '/bc', true],
    ['/\\(a?', '/(', true],
    ['/[?:(]+', '/?:(', false],
    ['/a[:.]b', '/a:b', true],
    ['/[a-z]([a-z-]*[a-z])?', '/a-b', true],
    ['/a+?', '/aa', true],
    ['/.*', `/${'x'.repeat(5000)}`, false],
  ])('take %s, and match %s: %s', (regex, target, isMatch) => {
    const routed = table(regex).route(
      { method: 'GET', target, scheme: 'http', authority: 'a', header: () => undefined },
      Math.random,
    );
    expect(routed !== undefined).toBe(isMatch);
  });
});
