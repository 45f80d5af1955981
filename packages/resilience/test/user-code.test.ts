import { describe, expect, it } from 'vitest';
import { defaultRouteRules, RouteTable } from '../src/index.js';
import { createCluster, createState, endpoints, FakeCall, leftovers, nothingLeft } from './support.js';

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
