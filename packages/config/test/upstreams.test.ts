import { type Endpoint, type MeshError, WatchSource } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import { type MeshSettings, printEndpoints, type ResolvedConfig, resolveConfig } from '../src/index.js';

const resolve = (env: Record<string, string>, code?: MeshSettings): ResolvedConfig =>
  resolveConfig({ env: { INMESH_SERVICE_NAME: 'web', ...env }, code, cwd: '/nonexistent' });
const fault = (env: Record<string, string>, code?: unknown): MeshError => {
  try {
    resolve(env, code as MeshSettings);
  } catch (error) {
    return error as MeshError;
  }
  throw new Error('nothing was refused');
};
const specsOf = (text: string): unknown =>
  resolve({ INMESH_UPSTREAM_X: text }).values.upstreams.get('x')?.endpoints;

describe('upstreams', () => {
  it('reads names, namespaces and identities', () => {
    const { upstreams } = resolve(
      {
        INMESH_UPSTREAM_ORDER_DB__BILLING: 'h:1',
        INMESH_UPSTREAM_CART: 'h:1',
        INMESH_UPSTREAM_CART_IDENTITY: 'spiffe://other/x,shop/cart',
      },
      { upstreams: { 'my-identity': 'h:3' } },
    ).values;
    const ids = (name: string): unknown => upstreams.get(name)?.identities.map((id) => id.uri);
    expect(ids('order-db.billing')).toEqual(['spiffe://dev.local/ns/billing/sa/order-db']);
    expect(ids('cart')).toEqual(['spiffe://other/x', 'spiffe://dev.local/ns/shop/sa/cart']);
    expect(ids('my-identity')).toEqual(['spiffe://dev.local/ns/default/sa/my-identity']);
  });

  it('tells addresses, names and SRV names apart', () => {
    expect(specsOf('10.0.0.1:1,[::1]:2, h-1.example.:3,dns+h:4,dnssrv+_http._tcp.h')).toEqual({
      kind: 'specs',
      specs: [
        { kind: 'static', host: '10.0.0.1', port: 1 },
        { kind: 'static', host: '::1', port: 2 },
        { kind: 'dns', host: 'h-1.example.', port: 3 },
        { kind: 'dns', host: 'h', port: 4 },
        { kind: 'srv', name: '_http._tcp.h' },
      ],
    });
  });

  it.each([
    ['orders', 'has no port'],
    ['h:', 'has no port after ":"'],
    ['[::1]', 'has no port'],
    ['[::1]:', 'has no port after ":"'],
    ['h:0', 'has the port 0, which is not from 1 to 65535'],
    ['h:65536', 'has the port 65536, which is not from 1 to 65535'],
    ['h:1234567', 'has the port 1234567, which is not from 1 to 65535'],
    ['[::1]:0', 'has the port 0, which is not from 1 to 65535'],
    ['h:http', 'has the port "http", which is not a number'],
    ['http://h:1', 'has a scheme: leave out "http://"'],
    ['HTTPS://h', 'has a scheme: leave out "HTTPS://"'],
    ['dns:///h:1', 'has a scheme: leave out "dns:///"'],
    ['dns+http://h:1', 'has a scheme: leave out "http://"'],
    ['dnssrv+https://_http._tcp.h', 'has a scheme: leave out "https://"'],
    [':80', 'has no host before ":"'],
    ['dns+:80', 'has no host before ":"'],
    [':', 'has no host before ":"'],
    ['h:1/v1', 'has a path: leave out "/v1"'],
    ['::1', 'has an IPv6 address without brackets: write [address]:port'],
    ['::1:80', 'has an IPv6 address without brackets: write [address]:port'],
    ['2001:db8:0:0:0:0:0:1:80', 'has an IPv6 address without brackets: write [address]:port'],
    ['dns+::1:80', 'has an IPv6 address without brackets: write [address]:port'],
    ['[h]:1', 'has brackets, which are for IPv6 addresses'],
    ['[1.2.3.4]:1', 'has brackets, which are for IPv6 addresses'],
    ['h:1;i:2', 'has ";" in it: endpoints are separated by ","'],
    ['h:1 ; i:2', 'has ";" in it: endpoints are separated by ","'],
    ['h:1 i:2', 'has " " in it: endpoints are separated by ","'],
    ['a b:1', 'has " " in it: endpoints are separated by ","'],
    ['1.2.3:1', 'has the host "1.2.3", which is neither an IP address nor a DNS name'],
    ['010.0.0.1:1', 'has the host "010.0.0.1", which is neither an IP address nor a DNS name'],
    ['300.1.1.1:1', 'has the host "300.1.1.1", which is neither an IP address nor a DNS name'],
    ['a..b:1', 'has the host "a..b", which is neither an IP address nor a DNS name'],
    [
      `${'a'.repeat(64)}:1`,
      `has the host "${'a'.repeat(64)}", which is neither an IP address nor a DNS name`,
    ],
    ['dns+h', 'has no port'],
    ['dnssrv+', 'has no _service._proto.name after dnssrv+'],
    ['dnssrv+h', 'has no _service._proto.name after dnssrv+'],
    ['dnssrv+_http._tcp.', 'has no _service._proto.name after dnssrv+'],
    ['dnssrv+_http._tcp.h:1', 'has a port: leave out ":1", SRV records say it'],
    ['dnssrvnoa+_http._tcp.h', 'begins with "dnssrvnoa+": there are dns+ and dnssrv+'],
  ])('refuses the endpoint %s with its text, its mistake and what is allowed', (value, mistake) => {
    expect(fault({ INMESH_UPSTREAM_X: value }).message).toBe(
      `INMESH_UPSTREAM_X: "${value}" ${mistake}; it is neither host:port nor dnssrv+_service._proto.name`,
    );
  });

  it('names the mistake of every endpoint that is wrong', () => {
    expect(fault({ INMESH_UPSTREAM_X: 'a,h:1,b:0' }).message).toBe(
      'INMESH_UPSTREAM_X: "a" has no port; "b:0" has the port 0, which is not from 1 to 65535; they are neither host:port nor dnssrv+_service._proto.name',
    );
  });

  it.each(['http://user:pw:@x@h', 'user:pw@h:1', 'https://user:p/w@h', 'dns+user:pw/x@h:1'])(
    'shows no password of %s',
    (value) => {
      const { message } = fault({ INMESH_UPSTREAM_X: value });
      expect(message).toContain('…@h');
      expect(message).not.toMatch(/user|p\/?w/);
    },
  );

  it('refuses a list without endpoints', () => {
    expect(fault({ INMESH_UPSTREAM_X: ' , ' }).message).toBe('INMESH_UPSTREAM_X: names no endpoint');
    expect(fault({}, { upstreams: { x: { endpoints: [] } } }).message).toBe(
      'upstreams.x.endpoints names no endpoint',
    );
    expect(fault({}, { upstreams: { x: { rules: {} } } }).message).toContain('upstreams.x has no endpoints');
  });

  it('takes endpoints as objects, and a source of your own', () => {
    const watch = new WatchSource<readonly Endpoint[]>();
    const { upstreams } = resolve(
      {},
      {
        upstreams: {
          a: { endpoints: [{ host: 'h', port: 1, weight: 2, priority: 1, locality: 'r/z' }] },
          b: { endpoints: watch },
        },
      },
    ).values;
    expect(upstreams.get('a')?.endpoints).toEqual({
      kind: 'specs',
      specs: [{ kind: 'dns', host: 'h', port: 1, weight: 2, priority: 1, locality: 'r/z' }],
    });
    expect(upstreams.get('b')?.endpoints).toEqual({ kind: 'watch', watch });
    expect([...upstreams.values()].map(printEndpoints)).toEqual(['h:1', 'a source in code']);
  });

  it.each([
    [{ host: 'h' }, 'upstreams.x.endpoints[0] needs "port"'],
    [{ host: 'h', port: 1, wieght: 1 }, 'upstreams.x.endpoints[0] has no "wieght"; did you mean weight?'],
    [{ host: 'h h', port: 1 }, 'upstreams.x.endpoints[0].host is "h h"'],
    [{ host: 'h', port: 1, weight: -1 }, 'upstreams.x.endpoints[0].weight is -1'],
    [{ host: 'h', port: 1, priority: 0.5 }, 'upstreams.x.endpoints[0].priority is 0.5'],
    [{ host: 'h', port: 1, locality: 'a/b/c/d' }, 'upstreams.x.endpoints[0].locality is "a/b/c/d"'],
    [{ host: 'h', port: 1, weight: 0 }, 'the weights of upstreams.x.endpoints sum to 0'],
  ])('refuses the endpoint object %j', (endpoint, message) => {
    expect(fault({}, { upstreams: { x: { endpoints: [endpoint] } } }).message).toContain(message);
  });

  it('lets code win field by field, and says where each came from', () => {
    const { values, provenance } = resolve(
      {
        INMESH_UPSTREAM_A: 'h:1',
        INMESH_UPSTREAM_A_IDENTITY: 'x',
        INMESH_UPSTREAM_B: 'h:1',
        INMESH_UPSTREAM_C: 'h:1',
        INMESH_UPSTREAM_D_IDENTITY: 'y',
      },
      { upstreams: { a: { rules: { outlier: false } }, b: 'h:2', d: 'h:4' } },
    );
    const shown = [...values.upstreams.values()].map((one) => [
      one.name,
      printEndpoints(one),
      one.identities[0]?.serviceAccount,
      provenance.get(`upstreams.${one.name}`),
    ]);
    expect(shown).toEqual([
      ['a', 'h:1', 'x', 'INMESH_UPSTREAM_A and code'],
      ['b', 'h:2', 'b', 'code'],
      ['c', 'h:1', 'c', 'INMESH_UPSTREAM_C'],
      ['d', 'h:4', 'y', 'code'],
    ]);
    expect(values.upstreams.get('a')?.rules).toEqual({ outlier: false });
  });

  it('names every wrong key and type of the rules at once', () => {
    const { message } = fault(
      { INMESH_UPSTREAM_Y: 'nonsense' },
      {
        upstreams: {
          x: {
            endpoints: 'h:1',
            rules: { outlier: { intervalMS: 1 }, slowStart: true, balancer: 'maglev' },
            calls: { retry: { maxAttempts: '3', conditions: ['5xxx'], backoff: 5 }, timeout: 1 },
            rule: {},
          },
        },
      },
    );
    expect(message.split('\n')).toEqual([
      'upstreams.x.rules.outlier has no "intervalMS"; did you mean intervalMs?',
      'upstreams.x.rules.slowStart is true; it must be an object',
      expect.stringContaining('upstreams.x.rules.balancer is "maglev"; it must be one of peak-ewma'),
      'upstreams.x.calls.retry.maxAttempts is "3"; it must be a number',
      expect.stringContaining('upstreams.x.calls.retry.conditions[0] is "5xxx"; it must be one of 5xx'),
      'upstreams.x.calls.retry.backoff is 5; it must be an object',
      'upstreams.x.calls has no "timeout"; did you mean timeoutMs?',
      'upstreams.x has no "rule"; did you mean rules?',
      'INMESH_UPSTREAM_Y: "nonsense" has no port; it is neither host:port nor dnssrv+_service._proto.name',
    ]);
  });

  it('tells how to write a service whose name ends in -identity', () => {
    expect(fault({ INMESH_UPSTREAM_MY_IDENTITY: 'h:1' }).message).toContain(
      'upstreams: { "my-identity": "h:1" }',
    );
    expect(fault({ INMESH_UPSTREAM_MY_IDENTITY: 'web' }).message).toContain('INMESH_UPSTREAM_MY is not set');
    for (const value of ['web', 'h:1'])
      expect(fault({ INMESH_UPSTREAM_MY_IDENTITY_IDENTITY: value }).message).toContain(
        'upstreams: { "my-identity": "',
      );
    const { upstreams } = resolve(
      { INMESH_UPSTREAM_MY_IDENTITY_IDENTITY: 'web' },
      { upstreams: { 'my-identity': 'h:1' } },
    ).values;
    expect(upstreams.get('my-identity')?.identities[0]?.serviceAccount).toBe('web');
  });

  it.each([
    ['INMESH_UPSTREAM_Orders', 'INMESH_UPSTREAM_ORDERS'],
    ['INMESH_UPSTREAM_orders', 'INMESH_UPSTREAM_ORDERS'],
    ['INMESH_UPSTREAM_ORDERS_identity', 'INMESH_UPSTREAM_ORDERS_IDENTITY'],
    ['INMESH_UPSTREAM_ORDER-DB.BILLING', 'INMESH_UPSTREAM_ORDER_DB__BILLING'],
  ])('refuses %s and says how it is written', (variable, written) => {
    expect(fault({ [variable]: 'h:1' }).message).toBe(`${variable} must be written ${written}`);
  });

  it.each([
    ['spiffe://dev.local/ns/x/sa/y', 'is an identity'],
    ['web,spiffe://dev.local/ns/x/sa/y', 'is an identity'],
    ['web', 'has no port'],
    ['shop/web', 'has no port'],
  ])('suggests the suffix for one that is near to it, with the value %s', (value, why) => {
    for (const word of ['IDENTTY', 'IDENTIY', 'INDENTITY', 'IDENTITYS', 'IDENTITY_', '_IDENTTY'])
      expect(
        fault({ INMESH_UPSTREAM_ORDERS: 'h:1', [`INMESH_UPSTREAM_ORDERS_${word}`]: value }).message,
      ).toBe(
        `INMESH_UPSTREAM_ORDERS_${word} is for endpoints, and "${value}" ${why}; did you mean INMESH_UPSTREAM_ORDERS_IDENTITY?`,
      );
  });

  it.each(['web', 'spiffe://dev.local/ns/x/sa/y'])('suggests one "_" before the suffix, with %s', (value) => {
    for (const more of ['_', '__'])
      expect(
        fault({ INMESH_UPSTREAM_ORDERS: 'h:1', [`INMESH_UPSTREAM_ORDERS_${more}IDENTITY`]: value }).message,
      ).toBe(
        `INMESH_UPSTREAM_ORDERS_${more}IDENTITY has more than one "_" before IDENTITY; did you mean INMESH_UPSTREAM_ORDERS_IDENTITY?`,
      );
  });

  it('takes endpoints at their word, whatever the name ends in', () => {
    const { upstreams } = resolve({
      INMESH_UPSTREAM_BILLING_ENTITY: 'h:1',
      INMESH_UPSTREAM_MY_IDENTIFY: 'dnssrv+_http._tcp.h',
    }).values;
    expect([...upstreams.keys()]).toEqual(['billing-entity', 'my-identify']);
  });

  it('says where an identity is to stand', () => {
    const id = 'spiffe://dev.local/ns/x/sa/y';
    for (const variable of ['INMESH_UPSTREAM_ORDERS', 'INMESH_UPSTREAM_ORDERS_ID', 'INMESH_UPSTREAM_IDENTTY'])
      expect(fault({ [variable]: id }).message).toBe(
        `${variable} is for endpoints, and "${id}" is an identity; INMESH_UPSTREAM_<NAME>_IDENTITY names the identity of <NAME>`,
      );
    for (const variable of ['INMESH_UPSTREAM_IDENTITY', 'INMESH_UPSTREAM__IDENTITY'])
      for (const value of [id, 'h:1'])
        expect(fault({ [variable]: value }).message).toBe(
          `${variable} names no upstream; it is written INMESH_UPSTREAM_<NAME>_IDENTITY, and a service named "identity" stands in code: upstreams: { "identity": "host:port" }`,
        );
  });

  it('takes a name with our own namespace for the short one', () => {
    const inEnv = resolve({ INMESH_UPSTREAM_ORDERS__DEFAULT: 'h:1' });
    expect([...inEnv.values.upstreams.keys()]).toEqual(['orders']);
    expect(inEnv.values.upstreams.get('orders')?.name).toBe('orders');
    expect(inEnv.provenance.get('upstreams.orders')).toBe('INMESH_UPSTREAM_ORDERS__DEFAULT');
    const inCode = resolve(
      { INMESH_NAMESPACE: 'shop', INMESH_UPSTREAM_ORDERS: 'h:1' },
      { upstreams: { 'orders.shop': { identity: 'x' }, 'orders.default': 'h:2' } },
    ).values.upstreams;
    expect([...inCode.keys()]).toEqual(['orders', 'orders.default']);
    expect(fault({ INMESH_UPSTREAM_A__B__DEFAULT: 'h:1' }).message).toContain(
      'neither NAME nor NAME.NAMESPACE',
    );
    expect(inCode.get('orders')?.identities[0]?.serviceAccount).toBe('x');
  });

  it('refuses both spellings of one upstream', () => {
    expect(fault({ INMESH_UPSTREAM_ORDERS__DEFAULT: 'h:1', INMESH_UPSTREAM_ORDERS: 'h:2' }).message).toBe(
      'INMESH_UPSTREAM_ORDERS__DEFAULT and INMESH_UPSTREAM_ORDERS both say orders',
    );
    expect(fault({}, { upstreams: { orders: 'h:1', 'orders.default': 'h:1' } }).message).toBe(
      'upstreams.orders and upstreams.orders.default both say orders',
    );
  });
});
