import { once } from 'node:events';
import * as grpc from '@grpc/grpc-js';
import { type Layer, MeshError } from '@inmesh/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  codeOf,
  EchoClient,
  failing,
  fault,
  idempotent,
  retried,
  route,
  TestMesh,
  type Unary,
} from './harness.js';

describe('endpoints of gRPC', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it.each([
    [grpc.status.UNAVAILABLE, true],
    [grpc.status.INTERNAL, true],
    [grpc.status.UNKNOWN, true],
    [grpc.status.DATA_LOSS, true],
    [grpc.status.NOT_FOUND, false],
    [grpc.status.UNIMPLEMENTED, false],
    [grpc.status.RESOURCE_EXHAUSTED, false],
  ])('ejects an endpoint after five times status %i: %s', async (code, isEjected) => {
    const bad = failing(code);
    const ports = [(await mesh.serve({ Unary: bad.Unary })).port, (await mesh.serve()).port];
    const { client, cluster } = await mesh.client(ports, { clusterRules: { balancer: 'round-robin' } });
    while (bad.seen.calls < 5) await client.unary('x').catch(() => {});
    expect(cluster().ejected).toBe(isEjected ? 1 : 0);
    if (isEjected) for (let i = 0; i < 6; i++) expect(await client.unary('x')).toBe('echo x');
  });

  it('goes to an endpoint that is ejected where no other can be reached', async () => {
    const bad = failing(grpc.status.UNAVAILABLE, 5);
    const other = await mesh.serve();
    const ports = [(await mesh.serve({ Unary: bad.Unary })).port, other.port];
    const { client, cluster } = await mesh.client(ports, {
      rules: retried(),
      channel: idempotent,
      clusterRules: { balancer: 'round-robin' },
    });
    while (bad.seen.calls < 5) await client.unary('x');
    expect(await client.unary('x')).toBe('echo x');
    expect([cluster().ejected, bad.seen.calls]).toEqual([1, 5]);
    await other.listener.close();
    // The first may still be sent over the connection that was cut.
    expect(await client.unary('x')).toMatch(/^attempt [01]$/);
    expect([cluster().ejected, bad.seen.calls]).toEqual([0, 6]);
  });

  it('does not take an endpoint with a long stream for slow, nor one whose caller is', async () => {
    const { port } = await mesh.serve();
    const { client, cluster } = await mesh.client([port]);
    await client.unary('x');
    const [endpoint] = cluster().endpoints;
    const bidi = client.bidi();
    while (endpoint?.active === 0) await new Promise(setImmediate);
    // The caller says nothing for a while; the endpoint answers as soon as it does.
    await new Promise((resolve) => setTimeout(resolve, 300));
    bidi.write('1');
    await once(bidi, 'data');
    expect(endpoint?.costMs).toBeLessThan(250);
    expect(endpoint?.active).toBe(1);
    bidi.end();
    await once(bidi.resume(), 'end');
    expect(endpoint?.active).toBe(0);
    expect(cluster().activeCalls).toBe(0);
  });

  it('learns the time to the head of unary calls, and does not take a fast failure for fast', async () => {
    const { Unary } = failing(grpc.status.UNAVAILABLE, 1);
    const { port } = await mesh.serve({ Unary });
    const { client, cluster } = await mesh.client([port]);
    await fault(client.unary('x'));
    expect(cluster().endpoints[0]?.costMs).toBe(5000);
    const other = await mesh.client([(await mesh.serve()).port]);
    await other.client.unary('x');
    expect(other.cluster().typicalMs).toBeGreaterThan(0);
  });

  it('follows endpoints as they come and go, and calls in flight end where they are', async () => {
    let finish: () => void = () => {};
    const slow: Unary = (_call, done) => (finish = () => done(null, 'old'));
    const old = await mesh.serve({ Unary: slow });
    const { client, endpoints } = await mesh.client([old.port]);
    const before = finish;
    const first = client.unary('x');
    while (finish === before) await new Promise(setImmediate);
    endpoints().set([{ host: '127.0.0.1', port: (await mesh.serve()).port }]);
    expect(await client.unary('y')).toBe('echo y');
    finish();
    expect(await first).toBe('old');
  });

  it('fails fast with the reason when nothing is reachable, and waits where it is told to', async () => {
    const { client, cluster, endpoints } = await mesh.client([1]);
    const error = await fault(client.unary('x'));
    expect(error).toMatchObject({ code: 14, details: expect.stringContaining('ECONNREFUSED') });
    expect(codeOf(error)).toBe('INMESH_ERR_CONNECT_FAILED');
    expect(cluster().endpoints[0]?.localErrorsInRow).toBe(1);
    endpoints().set([]);
    expect(codeOf(await fault(client.unary('x')))).toBe('INMESH_ERR_NO_ENDPOINT');
    const patient = new grpc.Metadata({ waitForReady: true });
    const waiting = client.unary('x', patient);
    while (cluster().pending === 0) await new Promise(setImmediate);
    endpoints().set([{ host: '127.0.0.1', port: (await mesh.serve()).port }]);
    expect(await waiting).toBe('echo x');
    expect(cluster().pending).toBe(0);
  });

  it('names the deadline of a call that waited for a name that nobody configures', async () => {
    const { mesh: mine } = await mesh.client([(await mesh.serve()).port]);
    const seen: string[] = [];
    const client = new EchoClient('mesh:///nobody', mine.credentials(), {
      ...mine.channelOptions(),
      interceptors: [
        (options, next) => {
          seen.push(options.method_definition.path);
          return new grpc.InterceptingCall(next(options));
        },
      ],
    });
    mesh.cleanup(() => client.close());
    const waiting = new grpc.Metadata({ waitForReady: true });
    const error = await fault(client.unary('x', waiting, { deadline: Date.now() + 50 }));
    expect(error).toMatchObject({
      code: 4,
      details: expect.stringContaining('INMESH_ERR_DEADLINE_EXCEEDED'),
    });
    expect(codeOf(error)).toBe('INMESH_ERR_DEADLINE_EXCEEDED');
    expect(seen).toEqual(['/test.Echo/Unary']);
  });

  it('asks for endpoints anew when one cannot be reached, and calls the one that took its place', async () => {
    const gone = await mesh.serve();
    await gone.listener.close();
    const { port } = await mesh.serve();
    const { client, endpoints, unreachable } = await mesh.client([gone.port], {
      onUnreachable: () => endpoints().set([{ host: '127.0.0.1', port }]),
    });
    expect(await client.unary('x', new grpc.Metadata({ waitForReady: true }))).toBe('echo x');
    expect(unreachable).toContain('echo');
  });

  it('names both identities where the peer has another, in details and metadata', async () => {
    const { port } = await mesh.serve();
    const { client } = await mesh.client([port], { expect: 'orders', rules: retried(), channel: idempotent });
    const error = await fault(client.unary('x'));
    expect(codeOf(error)).toBe('INMESH_ERR_PEER_IDENTITY');
    expect(error.details).toContain('INMESH_ERR_PEER_IDENTITY');
    expect(error.details).toContain('expected spiffe://a.test/ns/default/sa/orders');
    expect(error.metadata.get('grpc-retry-pushback-ms')).toEqual([]);
  });

  it('lets calls in flight end when it closes, refuses new ones, and cuts what takes too long', async () => {
    let finish: () => void = () => {};
    const { port } = await mesh.serve({
      Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
        if (call.request === 'slow') finish = () => done(null, 'late');
        else if (call.request !== 'never') done(null, 'ok');
      },
    });
    const one = await mesh.client([port]);
    const before = finish;
    const slow = one.client.unary('slow');
    while (finish === before) await new Promise(setImmediate);
    const closed = one.mesh.close();
    expect(codeOf(await fault(one.client.unary('x')))).toBe('INMESH_ERR_CLOSED');
    finish();
    expect(await slow).toBe('late');
    await closed;
    const two = await mesh.client([port]);
    const never = fault(two.client.unary('never'));
    while (two.cluster().activeCalls === 0) await new Promise(setImmediate);
    await two.mesh.close({ timeoutMs: 50 });
    expect(codeOf(await never)).toBe('INMESH_ERR_CLOSED');
  });

  it('counts nothing that is left behind when callers cancel at every moment', async () => {
    const { port, live } = await mesh.serve({ Unary: () => {} });
    const { client, cluster } = await mesh.client([port]);
    const cancelled = (wait: () => Promise<unknown>): Promise<grpc.ServiceError> =>
      fault(
        new Promise((resolve, reject) => {
          const call = client.start('x', (error, text) => (error ? reject(error) : resolve(text)));
          void wait().then(() => call.cancel());
        }),
      );
    for (const wait of [
      () => Promise.resolve(),
      () => new Promise((resolve) => process.nextTick(resolve)),
      () => new Promise((resolve) => setImmediate(resolve)),
      async () => {
        while (live.size === 0) await new Promise(setImmediate);
      },
    ])
      expect(await cancelled(wait)).toMatchObject({ code: 1 });
    await live.whenIdle();
    while (cluster().endpoints.some(({ active }) => active > 0)) await new Promise(setImmediate);
    expect(cluster()).toMatchObject({ activeCalls: 0, pending: 0, activeRetries: 0 });
  });
});

describe('routes of gRPC', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  const named = (name: string) => ({
    Unary: ((call, done) => {
      const metadata = new grpc.Metadata();
      metadata.set('x-from', name);
      call.sendMetadata(metadata);
      done(null, `${name} ${String(call.metadata.get('x-added')[0] ?? '-')} ${call.getHost()}`);
    }) satisfies Unary,
  });

  it('sends each call where its route says, changes metadata both ways, and chooses once', async () => {
    const a = await mesh.serve(named('a'));
    const b = await mesh.serve(named('b'));
    const { client } = await mesh.client([a.port], {
      clusters: { other: [b.port] },
      routes: [
        route({ name: 'canary', matches: [{ headers: [{ name: 'x-canary', exact: '1' }] }], to: 'other' }),
        route({
          name: 'rest',
          matches: [{ path: { segments: '/test.Echo' } }],
          to: 'echo',
          request: { set: { 'x-added': 'yes' } },
          response: { set: { 'x-seen': 'too' }, remove: ['x-from'] },
          rewrite: { authority: 'elsewhere' },
        }),
      ],
    });
    const canary = new grpc.Metadata();
    canary.set('x-canary', '1');
    expect(await client.unary('x', canary)).toBe('b - echo');
    const heads: grpc.Metadata[] = [];
    const text = await new Promise<string>((resolve, reject) =>
      client
        .start('x', (error, value) => (error ? reject(error) : resolve(value ?? '')))
        .on('metadata', (head: grpc.Metadata) => heads.push(head)),
    );
    expect(text).toBe('a yes elsewhere');
    expect(heads[0]?.get('x-seen')).toEqual(['too']);
    expect(heads[0]?.get('x-from')).toEqual([]);
  });

  it('splits by weight over clusters', async () => {
    const a = await mesh.serve(named('a'));
    const b = await mesh.serve(named('b'));
    const { client } = await mesh.client([a.port], {
      clusters: { other: [b.port] },
      routes: [
        route({
          name: 'split',
          to: [
            { cluster: 'echo', weight: 1 },
            { cluster: 'other', weight: 1 },
          ],
        }),
      ],
    });
    const seen = new Set<string>();
    while (seen.size < 2) seen.add((await client.unary('x')).slice(0, 1));
    expect([...seen].toSorted()).toEqual(['a', 'b']);
  });

  it.each([
    ['direct', { kind: 'direct', status: 503 } as const, 14, undefined],
    ['direct', { kind: 'direct', status: 403 } as const, 7, undefined],
    ['redirect', { kind: 'redirect', authority: 'new' } as const, 14, 'INMESH_ERR_NO_ROUTE'],
    ['no route', undefined, 5, 'INMESH_ERR_NO_ROUTE'],
  ])('answers itself: %s', async (_name, action, code, name) => {
    const { port } = await mesh.serve();
    const { client } = await mesh.client([port], {
      routes: [
        action === undefined
          ? route({ name: 'other', matches: [{ path: { exact: '/none' } }], to: 'echo' })
          : route({ name: 'own', action }),
      ],
    });
    const error = await fault(client.unary('x'));
    expect(error.code).toBe(code);
    expect(codeOf(error)).toBe(name);
    if (name !== undefined) expect(error.details).toContain(name);
  });

  it('follows routes that change, also to a cluster that was not there', async () => {
    const a = await mesh.serve(named('a'));
    const b = await mesh.serve(named('b'));
    const { client, replace } = await mesh.client([a.port], { clusters: { other: [b.port] } });
    expect(await client.unary('x')).toContain('a ');
    replace({ routes: new Map([['echo', [route({ name: 'all', to: 'other' })]]]) });
    expect(await client.unary('x')).toContain('b ');
    replace({ routes: new Map(), clusters: new Map() });
    expect(codeOf(await fault(client.unary('x')))).toBe('INMESH_ERR_NO_ENDPOINT');
  });

  it('carries the error of a layer that refuses', async () => {
    const { port } = await mesh.serve();
    const layer: Layer = {
      role: 'own',
      scope: 'call',
      why: 'test',
      bind: () => ({
        request: () => ({ kind: 'reject', error: new MeshError('INMESH_ERR_AUTHZ_DENIED', 'not you') }),
      }),
    };
    const { client } = await mesh.client([port], { layers: [layer] });
    const error = await fault(client.unary('x'));
    expect(error).toMatchObject({ code: 7, details: 'INMESH_ERR_AUTHZ_DENIED: not you' });
    expect(codeOf(error)).toBe('INMESH_ERR_AUTHZ_DENIED');
  });
});
