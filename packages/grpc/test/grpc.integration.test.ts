import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import {
  type Call,
  CallContext,
  type CallEnd,
  createStack,
  type Layer,
  MeshError,
  silentLogger,
} from '@inmesh/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { attachGrpcServer, grpcPeer } from '../src/index.js';
import { codeOf, createEchoServer, EchoClient, fault, TestMesh } from './harness.js';

const onlyWeb = (ends: CallEnd[] = []): Layer => ({
  role: 'authorize',
  scope: 'call',
  why: 'test',
  bind: () => ({
    request: ({ facts }: Call) =>
      facts.connection.peer?.id.serviceAccount === 'web' && facts.path !== '/test.Echo/Client'
        ? undefined
        : {
            kind: 'reject',
            error: new MeshError('INMESH_ERR_AUTHZ_DENIED', 'secret reason'),
            reply: { httpStatus: 403, grpcStatus: 'permission-denied', grpcMessage: 'RBAC: access denied' },
          },
    end: (_call, end) => void ends.push(end),
  }),
});

describe('gRPC', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it('carries unary, client, server and bidirectional calls over mTLS, and handlers know the peer', async () => {
    const peers: unknown[] = [];
    const service = await mesh.serve({
      Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
        peers.push(grpcPeer(call)?.id.uri, service.context.current()?.facts.path);
        done(null, call.request);
      },
    });
    const { client } = await mesh.client([service.port]);
    expect(await client.unary('hi')).toBe('hi');
    expect(peers).toEqual(['spiffe://a.test/ns/default/sa/web', '/test.Echo/Unary']);
    expect(await client.collect(['a', 'b'])).toBe('a,b');
    expect(await client.stream('x').toArray()).toEqual(['x0', 'x1', 'x2']);
    const bidi = client.bidi();
    bidi.write('1');
    expect(await once(bidi, 'data')).toEqual(['echo 1']);
    bidi.end();
    await once(bidi.resume(), 'end');
    await service.live.whenIdle();
  });

  it('denies each call by layer before a server that exists already runs it, and ends each once', async () => {
    let calls = 0;
    const ends: CallEnd[] = [];
    const { port, live } = await mesh.serve(
      {
        Unary: (_call: unknown, done: grpc.sendUnaryData<string>) => {
          calls++;
          done(null, 'ok');
        },
      },
      { layers: [onlyWeb(ends)] },
    );
    const { client } = await mesh.client([port]);
    const intruder = (await mesh.client([port], { name: 'intruder' })).client;
    expect(await client.unary('x')).toBe('ok');
    expect(await fault(intruder.unary('x'))).toMatchObject({ code: 7, details: 'RBAC: access denied' });
    expect(await fault(client.collect(['x']))).toMatchObject({ code: 7 });
    expect(
      await fault(
        once(
          intruder.stream('x').on('data', () => {}),
          'end',
        ),
      ),
    ).toMatchObject({ code: 7 });
    expect(calls).toBe(1);
    await live.whenIdle();
    expect(ends.map((end) => [end.status, end.isLocalReply])).toEqual([
      ['ok', false],
      ...Array.from({ length: 3 }, () => ['permission-denied', true]),
    ]);
  });

  it('tells the handler about deadline and cancellation, and the layers about the status', async () => {
    const ends: CallEnd[] = [];
    let cancelled: () => void = () => {};
    const whenCancelled = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    const { port, live } = await mesh.serve(
      {
        Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
          if (call.request === 'fail') done({ code: 5, details: 'nothing there' });
          else call.on('cancelled', cancelled);
        },
      },
      { layers: [onlyWeb(ends)] },
    );
    const { client } = await mesh.client([port]);
    expect(await fault(client.unary('fail'))).toMatchObject({ code: 5, details: 'nothing there' });
    expect(
      await fault(client.unary('hang', new grpc.Metadata(), { deadline: Date.now() + 200 })),
    ).toMatchObject({ code: 4 });
    await whenCancelled;
    await live.whenIdle();
    expect(ends.map((end) => end.status)[0]).toBe('not-found');
    expect(ends).toHaveLength(2);
  });

  it('stops a running stream when it is decided again', async () => {
    const service = await mesh.serve();
    const { client } = await mesh.client([service.port]);
    const bidi = client.bidi();
    bidi.write('1');
    await once(bidi, 'data');
    const deny: Layer = {
      role: 'authorize',
      scope: 'call',
      why: 'test',
      bind: () => ({
        recheck: () => ({ kind: 'reject', error: new MeshError('INMESH_ERR_AUTHZ_DENIED', 'no') }),
      }),
    };
    service.stack.replace(createStack([deny]));
    expect(service.live.recheckAll()).toBe(1);
    const [error] = (await once(bidi, 'error')) as [grpc.ServiceError];
    expect(error.code).toBe(7);
    await service.live.whenIdle();
  });

  it('refuses an endpoint with another identity, and names both', async () => {
    const { port } = await mesh.serve();
    const { client } = await mesh.client([port], { expect: 'orders' });
    const error = await fault(client.unary('x'));
    expect(error.code).toBe(14);
    expect(error.details).toContain('spiffe://a.test/ns/default/sa/echo');
    expect(error.details).toContain('expected spiffe://a.test/ns/default/sa/orders');
  });

  it('says what is wrong with a channel that is not whole', async () => {
    const { port } = await mesh.serve();
    const { mesh: own } = await mesh.client([port]);
    const other = (await mesh.client([port])).mesh;
    const open = (
      target: string,
      credentials: grpc.ChannelCredentials,
      options: grpc.ClientOptions = {},
    ): EchoClient => {
      const client = new EchoClient(target, credentials, options);
      mesh.cleanup(() => client.close());
      return client;
    };
    expect((await fault(open('mesh:///echo', own.credentials()).unary('x'))).details).toContain(
      'INMESH_ERR_GRPC_CHANNEL: the channel to mesh:///echo was made without mesh.grpc.channelOptions()',
    );
    expect(
      (await fault(open('mesh:///nobody', own.credentials(), own.channelOptions()).unary('x'))).details,
    ).toContain('set INMESH_UPSTREAM_NOBODY');
    expect(
      (await fault(open('mesh:///echo', own.credentials(), other.channelOptions()).unary('x'))).details,
    ).toContain('channelOptions() of the same mesh');
    expect(
      (await fault(open(`dns:///127.0.0.1:${port}`, own.credentials(), own.channelOptions()).unary('x')))
        .details,
    ).toContain('mesh:/// targets only');
    const permissive = await mesh.serve({}, { mode: 'permissive' });
    const plain = (await mesh.client([permissive.port])).mesh;
    expect(
      (
        await fault(
          open('mesh:///echo', grpc.credentials.createInsecure(), plain.channelOptions()).unary('x'),
        )
      ).details,
    ).toContain('needs mesh.grpc.credentials()');
  });

  it('runs layers of outbound calls: headers, own answers, waiting, the inbound parent, the end', async () => {
    const ends: CallEnd[] = [];
    const parents: unknown[] = [];
    const context = new CallContext();
    const layer: Layer = {
      role: 'own',
      scope: 'call',
      why: 'test',
      bind: ({ cluster }) => ({
        async request(call: Call) {
          await Promise.resolve();
          parents.push(call.parent?.facts.path);
          call.headers.set('x-cluster', cluster ?? '');
          call.headers.set('x-raw-bin', Buffer.from([0, 255]).toString('base64'));
          return call.headers.has('x-local')
            ? {
                kind: 'reply',
                reply: { httpStatus: 429, grpcStatus: 'resource-exhausted', grpcMessage: 'slow down' },
              }
            : undefined;
        },
        end: (_call, end) => void ends.push(end),
      }),
    };
    const inner = await mesh.serve({
      Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) =>
        done(
          null,
          `${String(call.metadata.get('x-cluster')[0])} ${(call.metadata.get('x-raw-bin')[0] as Buffer).toString('hex')}`,
        ),
    });
    const { client } = await mesh.client([inner.port], { layers: [layer], context });
    const front = await mesh.serve(
      {
        Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) =>
          void client.unary(call.request).then((text) => done(null, text)),
      },
      { context },
    );
    const outer = (await mesh.client([front.port])).client;
    expect(await outer.unary('x')).toBe('echo 00ff');
    expect(parents).toEqual(['/test.Echo/Unary']);
    const local = new grpc.Metadata();
    local.set('x-local', '1');
    expect(await fault(client.unary('x', local))).toMatchObject({ code: 8, details: 'slow down' });
    expect(ends.map((end) => [end.status, end.isLocalReply])).toEqual([
      ['ok', false],
      ['resource-exhausted', true],
    ]);
  });

  it('uses every endpoint, survives one that is down, and replaces connections before certificates end', async () => {
    const hits = [0, 0];
    const serials = new Set<string>();
    const ports = await Promise.all(
      [0, 1].map(
        async (i) =>
          (
            await mesh.serve({
              Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
                hits[i] = (hits[i] ?? 0) + 1;
                serials.add(grpcPeer(call)?.serial ?? '');
                done(null, 'ok');
              },
            })
          ).port,
      ),
    );
    const soon = await mesh.identity('web', {
      notAfterMs: performance.timeOrigin + performance.now() + 6000,
    });
    const { client } = await mesh.client([...ports, 1], { source: soon });
    while (hits.some((count) => count === 0)) await client.unary('x');
    const renewed = await mesh.ca.issue('/ns/default/sa/web');
    soon.update({ ...renewed, bundles: new Map([['a.test', mesh.ca.bundlePem]]) });
    // No call fails while connections move to the new certificate; the old one ends in between.
    while (serials.size < 2) await client.unary('x');
  });

  it('answers what is not gRPC, refuses other methods and spoofed identities', async () => {
    let seen: grpc.MetadataValue[] = [];
    const { port } = await mesh.serve({
      Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
        seen = [...call.metadata.get('x-forwarded-client-cert'), ...call.metadata.get('x-kept')];
        done(null, 'ok');
      },
    });
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/web');
    const session = connectHttp2('https://echo', {
      createConnection: () =>
        connectTls({
          port,
          host: '127.0.0.1',
          cert: certPem,
          key: keyPem,
          rejectUnauthorized: false,
          ALPNProtocols: ['h2'],
        }),
    });
    mesh.cleanup(() => session.destroy());
    const send = async (headers: Record<string, string>, body?: Buffer): Promise<unknown> => {
      const stream = session.request({ ':path': '/test.Echo/Unary', ':method': 'POST', ...headers });
      stream.end(body);
      const [reply] = (await once(stream, 'response')) as [Record<string, unknown>];
      stream.resume();
      return `${String(reply[':status'])} ${String(reply['grpc-status'] ?? '')}`;
    };
    expect(await send({ 'content-type': 'text/plain' })).toBe('415 ');
    expect(await send({ 'content-type': 'application/grpc', ':method': 'GET' })).toBe('405 ');
    expect(
      await send(
        { 'content-type': 'application/grpc', 'x-forwarded-client-cert': 'URI=admin', 'x-kept': 'yes' },
        Buffer.from([0, 0, 0, 0, 1, 65]),
      ),
    ).toBe('200 ');
    while (seen.length === 0) await new Promise(setImmediate);
    expect(seen).toEqual(['yes']);
  });

  it.each([
    ['a line break in a value', { httpStatus: 403, headers: [['x-a', 'a\r\nb: c']] }],
    ['a name that is none', { httpStatus: 403, headers: [['x a', 'b']] }],
    ['a pseudo-header', { httpStatus: 403, headers: [[':path', '/']] }],
    ['a value that is no text', { httpStatus: 403, headers: [['x-a', 5]] }],
    ['headers that are no list', { httpStatus: 403, headers: 7 }],
    ['a status that is none', { httpStatus: 99_999 }],
    ['a message that is no text', { httpStatus: 403, grpcMessage: {} }],
  ])('answers INTERNAL for a layer whose reply has %s, and says so', async (_name, reply) => {
    const layer: Layer = {
      role: 'own',
      scope: 'call',
      why: 'test',
      bind: () => ({ request: () => ({ kind: 'reply', reply }) as never }),
    };
    const logged: unknown[] = [];
    const logger = { ...silentLogger, error: (fields: object) => void logged.push(fields) };
    const { port } = await mesh.serve({}, { layers: [layer], logger });
    const { client } = await mesh.client([port]);
    expect(await fault(client.unary('x'))).toMatchObject({ code: 13 });
    expect(logged).toMatchObject([{ code: 'INMESH_ERR_LAYER_THREW' }]);
    const calling = await mesh.client([port], { layers: [layer] });
    const error = await fault(calling.client.unary('x'));
    expect(error.code).toBe(13);
    expect(codeOf(error)).toBe('INMESH_ERR_LAYER_THREW');
  });

  it('leaves out of a reply what frames it, and replaces half a surrogate pair', async () => {
    const layer: Layer = {
      role: 'own',
      scope: 'call',
      why: 'test',
      bind: () => ({
        request: () => ({
          kind: 'reply',
          reply: {
            httpStatus: 403,
            grpcMessage: 'a\ud800b',
            headers: [
              ['Connection', 'close'],
              ['content-length', '7'],
              ['x-why', 'because'],
            ],
          },
        }),
        head: (_call, { headers }) => headers.set('x-bad', 'a\nb'),
      }),
    };
    const { port } = await mesh.serve({}, { layers: [layer] });
    const { client } = await mesh.client([port]);
    const error = await fault(client.unary('x'));
    expect(error).toMatchObject({ code: 7, details: 'a\ufffdb' });
    expect(error.metadata.get('x-why')).toEqual(['because']);
    expect(error.metadata.get('x-bad')).toEqual([]);
  });

  it('attaches a server once', () => {
    const server = createEchoServer({});
    const options = {
      stack: undefined,
      live: undefined,
      context: new CallContext(),
      runtime: undefined,
      logger: undefined,
    } as never;
    attachGrpcServer(server, options).close();
    expect(() => attachGrpcServer(server, options)).toThrow('attached already');
  });
});
