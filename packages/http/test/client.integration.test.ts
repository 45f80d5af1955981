import { once } from 'node:events';
import { createServer, get as httpGet, type IncomingMessage, type ServerResponse } from 'node:http';
import { get as httpsGet } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { Readable } from 'node:stream';
import { type Call, type CallEnd, type Layer, type MeshError } from '@inmesh/core';
import axios from 'axios';
import got from 'got';
import { fetch as fetch7, request as request7 } from 'undici';
import { fetch as fetch6, request as request6 } from 'undici6';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { httpPeer } from '../src/index.js';
import { TestMesh } from './harness.js';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
const echo: Handler = (request, response) => {
  response.setHeader('content-type', 'application/json');
  const head = {
    peer: httpPeer(request)?.id.serviceAccount,
    host: request.headers.host,
    url: request.url,
    method: request.method,
    x: request.headers['x-layer'],
  };
  let length = 0;
  request
    .on('data', (chunk: Buffer) => (length += chunk.length))
    .on('end', () => response.end(JSON.stringify({ ...head, length })));
};

describe('HTTP client', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it.each([
    'http://orders/a?b=c',
    'https://orders/a?b=c',
    'http://ORDERS./a?b=c',
    'http://orders:8080/a?b=c',
    'http://orders.default/a?b=c',
  ])('knows %s for a mesh name', async (url) => {
    const { port } = await mesh.serve(echo);
    const client = await mesh.client({ orders: [port] });
    const reply = await client.fetch(url, { method: 'POST', body: 'hello' });
    expect(await reply.json()).toMatchObject({ peer: 'web', url: '/a?b=c', method: 'POST', length: 5 });
    expect(reply).toBeInstanceOf(Response);
    expect(client.stats.passedThrough).toBe(0);
  });

  it('passes other names through and counts them', async () => {
    const plain = createServer(echo).listen(0, '127.0.0.1');
    await once(plain, 'listening');
    mesh.cleanup(() => void plain.close());
    const client = await mesh.client({ orders: [1] });
    const reply = await client.fetch(`http://127.0.0.1:${(plain.address() as AddressInfo).port}/x`);
    expect(await reply.json()).toMatchObject({ url: '/x' });
    expect(client.stats.passedThrough).toBe(1);
  });

  it('tells plaintext that passes through from TLS, however the origin is written', async () => {
    const client = await mesh.client({ orders: [1] });
    const { dispatcher } = client;
    const ask = { path: '/', method: 'GET' } as const;
    for (const origin of ['https://127.0.0.1:1', 'HTTPS://127.0.0.1:1', new URL('https://127.0.0.1:1')])
      await dispatcher.request({ ...ask, origin }).catch(() => {});
    await dispatcher.request({ ...ask, origin: 'http://127.0.0.1:1' }).catch(() => {});
    expect(client.stats).toEqual({
      passedThrough: 4,
      bypasses: { 'plaintext-connection': 0, 'plaintext-request': 1, 'tls-connection': 0, 'tls-request': 3 },
    });
  });

  const users: readonly [string, (client: Awaited<ReturnType<TestMesh['client']>>) => Promise<unknown>][] = [
    [
      'fetch of undici 7',
      async (client) => (await fetch7('http://orders/', { dispatcher: client.dispatcher })).json(),
    ],
    [
      'request of undici 7',
      async (client) => (await request7('http://orders/', { dispatcher: client.dispatcher })).body.json(),
    ],
    [
      'fetch of undici 6',
      async (client) => (await fetch6('http://orders/', { dispatcher: client.dispatcher as never })).json(),
    ],
    [
      'request of undici 6',
      async (client) =>
        (await request6('http://orders/', { dispatcher: client.dispatcher as never })).body.json(),
    ],
    [
      'axios',
      async (client) => {
        const agent = client.agent();
        return (await axios.get<unknown>('https://orders/', { httpAgent: agent, httpsAgent: agent })).data;
      },
    ],
    ['got', async (client) => await got('http://orders/', { agent: { http: client.agent() } }).json()],
    [
      'node:http',
      async (client) =>
        JSON.parse(
          await new Promise<string>((resolve) =>
            httpGet(
              'http://orders/',
              { agent: client.agent() },
              (reply) => void reply.setEncoding('utf8').on('data', resolve),
            ),
          ),
        ) as unknown,
    ],
    [
      'node:https',
      async (client) =>
        JSON.parse(
          await new Promise<string>((resolve) =>
            httpsGet(
              'https://orders/',
              { agent: client.agent() as never },
              (reply) => void reply.setEncoding('utf8').on('data', resolve),
            ),
          ),
        ) as unknown,
    ],
  ];
  it.each(users)('works under %s', async (_name, run) => {
    const { port } = await mesh.serve(echo);
    expect(await run(await mesh.client({ orders: [port] }))).toMatchObject({
      peer: 'web',
      host: 'orders',
      url: '/',
    });
  });

  it('works under undici 8', async () => {
    if (Number(process.versions.node.split('.')[0]) < 22) {
      process.stdout.write(
        'SKIP undici 8: it does not load on Node 20; test:nodes runs it on 22 and later\n',
      );
      return;
    }
    const { fetch: fetch8, request: request8 } = await import('undici8');
    const { port } = await mesh.serve(echo);
    const client = await mesh.client({ orders: [port] });
    expect(
      await (await fetch8('http://orders/', { dispatcher: client.dispatcher as never })).json(),
    ).toMatchObject({ peer: 'web' });
    expect(
      await (await request8('http://orders/', { dispatcher: client.dispatcher as never })).body.json(),
    ).toMatchObject({ peer: 'web' });
  });

  it('refuses a server with another identity, and names both', async () => {
    const { port } = await mesh.serve(echo, { name: 'impostor' });
    const client = await mesh.client({ orders: [port] });
    const error = (await client.fetch('http://orders/').catch((reason: unknown) => reason)) as Error & {
      cause: MeshError;
    };
    expect(error.cause).toMatchObject({ code: 'INMESH_ERR_PEER_IDENTITY', reached: 'no' });
    expect(error.cause.message).toContain('spiffe://a.test/ns/default/sa/impostor');
    expect(error.cause.message).toContain('expected spiffe://a.test/ns/default/sa/orders');
    const viaAgent = await new Promise<MeshError>((resolve) =>
      httpGet('http://orders/', { agent: client.agent() }).on('error', (reason) =>
        resolve(reason as MeshError),
      ),
    );
    expect(viaAgent.code).toBe('INMESH_ERR_PEER_IDENTITY');
  });

  it('says that nobody listens, and that a connection broke', async () => {
    const broken = createTcpServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await once(broken, 'listening');
    mesh.cleanup(() => void broken.close());
    const cutting = await mesh.serve((request: IncomingMessage) => request.socket.destroy());
    const client = await mesh.client({
      none: [1],
      broken: [(broken.address() as AddressInfo).port],
      orders: [cutting.port],
    });
    const code = async (name: string): Promise<unknown> =>
      ((await client.fetch(`http://${name}/`).catch((reason: unknown) => reason)) as { cause: MeshError })
        .cause;
    expect(await code('none')).toMatchObject({ code: 'INMESH_ERR_CONNECT_FAILED', reached: 'no' });
    expect(await code('broken')).toMatchObject({ code: 'INMESH_ERR_PEER_REFUSED', reached: 'no' });
    expect(await code('orders')).toMatchObject({ code: 'INMESH_ERR_CONNECTION_LOST', reached: 'maybe' });
  });

  it('streams both ways with backpressure, and cancels to the wire', async () => {
    let isAborted = false;
    let aborted: () => void = () => {};
    const whenAborted = new Promise<void>((resolve) => {
      aborted = resolve;
    });
    const { port, live } = await mesh.serve((request: IncomingMessage, response: ServerResponse) => {
      if (request.url === '/echo') request.pipe(response);
      else {
        response.on('close', () => {
          isAborted = !response.writableFinished;
          aborted();
        });
        response.write('first');
      }
    });
    const client = await mesh.client({ orders: [port] });
    const chunk = Buffer.alloc(65_536, 'x');
    const body = Readable.toWeb(
      Readable.from(
        (function* () {
          for (let i = 0; i < 256; i++) yield chunk;
        })(),
      ),
    ) as ReadableStream;
    const reply = await client.fetch('http://orders/echo', {
      method: 'POST',
      body,
      duplex: 'half',
    } as RequestInit);
    let length = 0;
    for await (const part of reply.body ?? []) length += (part as Uint8Array).length;
    expect(length).toBe(256 * 65_536);
    const controller = new AbortController();
    const hanging = await client.fetch('http://orders/hang', { signal: controller.signal });
    await hanging.body?.getReader().read();
    controller.abort();
    await whenAborted;
    expect(isAborted).toBe(true);
    await live.whenIdle();
  });

  it('upgrades', async () => {
    const server = createServer();
    server.on('upgrade', (_request, socket) =>
      socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhi'),
    );
    const { port } = await mesh.serve(server);
    const client = await mesh.client({ orders: [port] });
    const { socket } = await client.dispatcher.upgrade({
      origin: 'http://orders',
      path: '/',
      protocol: 'echo',
    } as never);
    expect(String((await once(socket, 'data'))[0])).toBe('hi');
    socket.destroy();
  });

  it('runs layers: they change headers, answer by themselves, wait, and see the end', async () => {
    const ends: CallEnd[] = [];
    const layer: Layer = {
      role: 'own',
      scope: 'call',
      why: 'test',
      bind: ({ side, cluster }) => ({
        async request(call: Call) {
          await Promise.resolve();
          call.headers.set('x-layer', `${side} ${cluster ?? ''}`);
          return call.facts.path === '/local'
            ? { kind: 'reply', reply: { httpStatus: 418, headers: [['x-from', 'layer']], body: 'teapot' } }
            : undefined;
        },
        head: (_call, head) => head.headers.set('x-head', String(head.httpStatus)),
        end: (_call, end) => void ends.push(end),
      }),
    };
    const { port } = await mesh.serve(echo);
    const client = await mesh.client({ orders: [port] }, { layers: [layer] });
    const reply = await client.fetch('http://orders/');
    expect(reply.headers.get('x-head')).toBe('200');
    expect(await reply.json()).toMatchObject({ x: 'client orders' });
    const local = await client.fetch('http://orders/local');
    expect([
      local.status,
      local.headers.get('x-from'),
      local.headers.get('x-head'),
      await local.text(),
    ]).toEqual([418, 'layer', '418', 'teapot']);
    expect(ends.map((end) => [end.status, end.isLocalReply])).toEqual(
      [
        ['ok', false],
        ['unknown', true],
      ].map((pair, i) => [ends[i]?.status, pair[1]]),
    );
  });

  it('carries the inbound call to outbound ones', async () => {
    const parents: unknown[] = [];
    const { port } = await mesh.serve(echo);
    const layer: Layer = {
      role: 'own',
      scope: 'call',
      why: 'test',
      bind: () => ({ request: (call) => void parents.push(call.parent?.facts.path) }),
    };
    const context = new (await import('@inmesh/core')).CallContext();
    const client = await mesh.client({ orders: [port] }, { layers: [layer], context });
    const front = await mesh.serve(
      async (_request: IncomingMessage, response: ServerResponse) => {
        await client.fetch('http://orders/');
        response.end();
      },
      { context },
    );
    await mesh.curl(await mesh.files('web'), `https://localhost:${front.port}/outer`);
    expect(parents).toEqual(['/outer']);
  });

  it('uses every endpoint, and retires connections before their certificate ends', async () => {
    const hits: number[] = [0, 0];
    const ports = await Promise.all(
      [0, 1].map(
        async (i) =>
          (
            await mesh.serve((_request: IncomingMessage, response: ServerResponse) => {
              hits[i] = (hits[i] ?? 0) + 1;
              response.end(httpPeer(_request)?.serial);
            })
          ).port,
      ),
    );
    const soon = await mesh.identity('web', {
      notAfterMs: performance.timeOrigin + performance.now() + 1500,
    });
    const client = await mesh.client({ orders: ports }, { source: soon });
    const first = await (await client.fetch('http://orders/')).text();
    await (await client.fetch('http://orders/')).text();
    expect(hits).toEqual([1, 1]);
    const renewed = await mesh.ca.issue('/ns/default/sa/web');
    soon.update({ ...renewed, bundles: new Map([['a.test', mesh.ca.bundlePem]]) });
    let serial = first;
    while (serial === first) {
      const reply = await client.fetch('http://orders/');
      expect(reply.status).toBe(200);
      serial = await reply.text();
    }
  });
});
