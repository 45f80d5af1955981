import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Call, type CallEnd, createStack, type Layer, MeshError } from '@inmesh/core';
import Router from '@koa/router';
import express from 'express';
import express4 from 'express4';
import fastify from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { httpPeer } from '../src/index.js';
import { TestMesh } from './harness.js';

const allowWeb = (ends: CallEnd[] = []): Layer => ({
  role: 'authorize',
  scope: 'call',
  why: 'test',
  bind: () => ({
    request: (call: Call) =>
      call.facts.path.startsWith('/admin') || call.facts.connection.peer?.id.serviceAccount !== 'web'
        ? {
            kind: 'reject',
            error: new MeshError('INMESH_ERR_AUTHZ_DENIED', 'denied'),
            reply: { httpStatus: 403, body: 'RBAC: access denied' },
          }
        : undefined,
    end: (_call, end) => void ends.push(end),
  }),
});

describe('one port', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  const hello: RequestListener = (request, response) => {
    response.end(`hello ${httpPeer(request)?.id.uri ?? 'nobody'} on ${request.httpVersion} ${request.url}`);
  };

  it('serves curl with its default ALPN and with --http1.1, and knows who it is', async () => {
    const { port } = await mesh.serve(hello);
    const web = await mesh.files('web');
    for (const args of [[], ['--http1.1']]) {
      const { out } = await mesh.curl(web, `https://localhost:${port}/x?y=1`, ...args);
      expect(out).toBe('hello spiffe://a.test/ns/default/sa/web on 1.1 /x?y=1\n200 1.1');
    }
  });

  it('denies by layer before the handler, and counts each end once', async () => {
    let calls = 0;
    const ends: CallEnd[] = [];
    const { port, live } = await mesh.serve(
      (_request: IncomingMessage, response: { end(text: string): void }) => {
        calls++;
        response.end('ok');
      },
      { layers: [allowWeb(ends)] },
    );
    expect((await mesh.curl(await mesh.files('web'), `https://localhost:${port}/`)).out).toBe('ok\n200 1.1');
    expect((await mesh.curl(await mesh.files('intruder'), `https://localhost:${port}/`)).out).toBe(
      'RBAC: access denied\n403 1.1',
    );
    expect(calls).toBe(1);
    await live.whenIdle();
    expect(ends.map((end) => [end.status, end.httpStatus, end.isLocalReply])).toEqual([
      ['ok', 200, false],
      ['permission-denied', 403, true],
    ]);
  });

  it('strict: plaintext gets no byte; permissive: it is served, and is nobody', async () => {
    const strict = await mesh.serve(hello);
    const permissive = await mesh.serve(hello, { mode: 'permissive' });
    const plain = async (port: number, bytes: string): Promise<string> => {
      const socket = connectTcp(port, '127.0.0.1');
      let text = '';
      socket.on('error', () => {});
      socket.setEncoding('latin1').on('data', (chunk: string) => {
        text += chunk;
      });
      socket.write(bytes);
      await once(socket, 'close');
      return text;
    };
    const request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    expect(await plain(strict.port, request)).toBe('');
    expect(await plain(strict.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')).toBe('');
    expect(await plain(permissive.port, request)).toContain('hello nobody on 1.1 /');
    expect((await mesh.curl(await mesh.files('web'), `https://localhost:${permissive.port}/`)).out).toContain(
      'hello spiffe://a.test',
    );
  });

  it('answers probes over plaintext although strict, and nothing else', async () => {
    const { port } = await mesh.serve(hello, { probePaths: ['/livez'] });
    const get = async (target: string, method = 'GET'): Promise<string> => {
      const socket = connectTcp(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(`${method} ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      await once(socket, 'close');
      return text;
    };
    expect(await get('/livez')).toContain('200 OK');
    for (const [target, method] of [
      ['/', 'GET'],
      ['/livez', 'POST'],
      ['/livez/../', 'GET'],
      ['//livez', 'GET'],
      ['/livez?x', 'GET'],
    ] as const)
      expect(await get(target, method)).toBe('');
  });

  it.each([
    ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
    ['two Authorization', 'GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n'],
    ['another Host than the target', 'GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['an escaped slash', 'GET /%2fadmin HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a NUL', 'GET /admin%00 HTTP/1.1\r\nHost: a\r\n\r\n'],
    [
      'both lengths',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a space before the colon', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n'],
    ['huge headers', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`],
  ])('refuses %s and closes', async (_what, bytes) => {
    let calls = 0;
    const { port } = await mesh.serve(() => calls++);
    expect(await mesh.exchange(port, bytes)).toMatch(/^$|^HTTP\/1\.1 4(00|31)/);
    expect(calls).toBe(0);
  });

  it('rewrites the target into the form that was decided on', async () => {
    const { port } = await mesh.serve(hello, { layers: [allowWeb()] });
    const get = (target: string): Promise<string> =>
      mesh.exchange(port, `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    expect(await get('/a//b/../c?q=%2f#f')).toContain('/a/c?q=%2f');
    expect(await get('http://A/x')).toContain('on 1.1 /x');
    for (const target of ['//admin', '/./admin', '/x/../admin', '/%61dmin', '/admin#f', 'http://a/admin'])
      expect(await get(target)).toContain('403 Forbidden');
  });

  const xfcc = 'x-forwarded-client-cert';
  const frameworks: readonly [string, () => unknown][] = [
    [
      'express 5',
      () =>
        express().get(
          '/echo',
          (request, response) =>
            void response.json({
              url: request.url,
              peer: httpPeer(request)?.id.uri,
              headers: request.headers,
              distinct: request.headersDistinct,
              raw: request.rawHeaders,
            }),
        ),
    ],
    [
      'express 4',
      () =>
        express4().get(
          '/echo',
          (request: IncomingMessage & { url: string }, response: { json(value: unknown): void }) =>
            response.json({
              url: request.url,
              peer: httpPeer(request)?.id.uri,
              headers: request.headers,
              distinct: request.headersDistinct,
              raw: request.rawHeaders,
            }),
        ),
    ],
    [
      'koa',
      () => {
        const router = new Router();
        router.get('/echo', (context) => {
          context.body = {
            url: context.url,
            peer: httpPeer(context.req)?.id.uri,
            headers: context.headers,
            distinct: context.req.headersDistinct,
            raw: context.req.rawHeaders,
          };
        });
        return new Koa().use(router.routes());
      },
    ],
    [
      'fastify',
      () => {
        const app = fastify();
        app.get('/echo', (request) => ({
          url: request.url,
          peer: httpPeer(request)?.id.uri,
          headers: request.headers,
          distinct: request.raw.headersDistinct,
          raw: request.raw.rawHeaders,
        }));
        return app;
      },
    ],
    [
      'hono',
      () =>
        new Hono().get('/echo', (context) =>
          context.json({
            url: new URL(context.req.url).pathname,
            peer: httpPeer(context)?.id.uri,
            headers: Object.fromEntries(context.req.raw.headers),
            one: context.req.header(xfcc) ?? '',
          }),
        ),
    ],
    [
      'http.Server',
      () =>
        createServer((request, response) =>
          response.end(
            JSON.stringify({
              url: request.url,
              peer: httpPeer(request)?.id.uri,
              headers: request.headers,
              distinct: request.headersDistinct,
              raw: request.rawHeaders,
            }),
          ),
        ),
    ],
  ];
  it.each(frameworks)('%s sees the peer, and no view of a spoofed identity', async (_name, make) => {
    const { port } = await mesh.serve(await make());
    const { out } = await mesh.curl(
      await mesh.files('web'),
      `https://localhost:${port}//echo`,
      '-H',
      `${xfcc}: URI=spiffe://a.test/admin`,
      '-H',
      'X-Inmesh-Peer: evil',
      '-H',
      'x-kept: yes',
    );
    expect(out).toContain('"peer":"spiffe://a.test/ns/default/sa/web"');
    expect(out).toContain('x-kept');
    expect(out.toLowerCase()).not.toMatch(/client-cert|x-inmesh|spiffe:\/\/a.test\/admin/);
    expect(out).toMatch(/200 1.1$/);
  });

  it('lets WebSockets through by the same decision', async () => {
    const server = createServer();
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket, request) =>
      socket.send(`hello ${httpPeer(request)?.id.serviceAccount}`),
    );
    const { port, live } = await mesh.serve(server, { layers: [allowWeb()] });
    const upgrade =
      'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
    const socket = await mesh.raw(port);
    socket.write(upgrade);
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    while (!text.includes('hello web')) await once(socket, 'data');
    expect(text).toMatch(/^HTTP\/1\.1 101/);
    expect(live.size).toBe(1);
    socket.destroy();
    await live.whenIdle();
    expect(await mesh.exchange(port, upgrade, 'intruder')).toMatch(
      /^HTTP\/1\.1 403 Forbidden[^]*RBAC: access denied$/,
    );
    sockets.close();
  });

  it('decides before 100 Continue, and handles CONNECT', async () => {
    const server = createServer((request, response) => request.pipe(response));
    server.on('connect', (_request, socket) => socket.end('HTTP/1.1 200 OK\r\n\r\ntunnel'));
    const { port } = await mesh.serve(server, { layers: [allowWeb()] });
    const put =
      'PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n';
    const denied = await mesh.raw(port, 'intruder');
    denied.write(put);
    const [head] = (await once(denied, 'data')) as [Buffer];
    expect(head.toString()).toMatch(/^HTTP\/1\.1 403/);
    const allowed = await mesh.raw(port);
    allowed.write(put);
    const [first] = (await once(allowed, 'data')) as [Buffer];
    expect(first.toString()).toMatch(/^HTTP\/1\.1 100 Continue/);
    allowed.write('hi');
    let text = '';
    allowed.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    await once(allowed, 'close');
    expect(text).toContain('hi');
    expect(await mesh.exchange(port, 'CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n')).toContain(
      'tunnel',
    );
    expect(
      await mesh.exchange(port, 'CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n', 'intruder'),
    ).toMatch(/^HTTP\/1\.1 403/);
  });

  it('answers plain HTTP over HTTP/2 clearly, or serves it where the application opted in', async () => {
    const bare = await mesh.serve(hello);
    const opted = await mesh.serve(hello, { http2: true, layers: [allowWeb()] });
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/web');
    const get = async (port: number, headers: Record<string, string>): Promise<string> => {
      const session = connectHttp2('https://localhost', {
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
      const stream = session.request(headers);
      let text = '';
      stream.on('response', (reply) => {
        text += `${String(reply[':status'])} ${String(reply['grpc-status'] ?? '')}`;
      });
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      await once(stream, 'close');
      session.close();
      return text;
    };
    expect(await get(bare.port, { ':path': '/' })).toBe(
      '505 inmesh: this service does not serve plain HTTP over HTTP/2; use HTTP/1.1\n',
    );
    expect(
      await get(bare.port, { ':path': '/a.B/C', ':method': 'POST', 'content-type': 'application/grpc' }),
    ).toBe('200 12');
    expect(await get(opted.port, { ':path': '/x//y', [xfcc]: 'evil' })).toBe(
      '200 hello spiffe://a.test/ns/default/sa/web on 2.0 /x/y',
    );
    expect(await get(opted.port, { ':path': '/x/../admin' })).toBe('403 RBAC: access denied');
    expect(await get(opted.port, { ':path': '/', ':authority': 'a', host: 'b' })).toContain('400 ');
  });

  it('cuts slow headers and silent connections, while others are served', async () => {
    const { port } = await mesh.serve(hello, {
      limits: { headersTimeoutMs: 300, sniffTimeoutMs: 300, maxSilent: 5 },
    });
    const slow = await mesh.raw(port);
    slow.write('GET / HTTP/1.1\r\nHost:');
    const silent = Array.from({ length: 20 }, () => connectTcp(port, '127.0.0.1').on('error', () => {}));
    expect((await mesh.curl(await mesh.files('web'), `https://localhost:${port}/`)).out).toContain('200');
    slow.resume();
    await Promise.all(
      [slow, ...silent].map((socket) => (socket.closed ? undefined : once(socket.resume(), 'close'))),
    );
  });

  it('does not start a handler for a client that left during an asynchronous decision', async () => {
    let calls = 0;
    let release: () => void = () => {};
    const ends: CallEnd[] = [];
    const wait: Layer = {
      role: 'wait',
      scope: 'call',
      why: 'test',
      bind: () => ({
        request: () => new Promise((resolve) => (release = () => resolve(undefined))),
        end: (_call, end) => void ends.push(end),
      }),
    };
    const { port, live } = await mesh.serve(() => calls++, { layers: [wait] });
    const socket = await mesh.raw(port);
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    while (live.size === 0) await new Promise(setImmediate);
    socket.destroy();
    await live.whenIdle();
    release();
    await new Promise(setImmediate);
    expect(calls).toBe(0);
    expect(ends.map((end) => end.status)).toEqual(['cancelled']);
  });

  it.each([
    ['HTTP/1.1', 'a body', ['--http1.1', '-d', 'x']],
    ['HTTP/1.1', 'a body in chunks', ['--http1.1', '-H', 'Transfer-Encoding: chunked', '-d', 'x']],
    ['HTTP/1.1', 'no body', ['--http1.1']],
    ['HTTP/1.1', 'an empty body', ['--http1.1', '-X', 'POST', '-H', 'Content-Length: 0']],
    ['HTTP/2', 'a body', ['--http2', '-d', 'x']],
    ['HTTP/2', 'no body', ['--http2']],
  ])(
    'keeps the call, over %s with %s, through a handler that waits for it',
    async (_version, _body, args) => {
      const seen: unknown[] = [];
      const service = await mesh.serve(
        (request: IncomingMessage, response: { end(text?: string): void; on: IncomingMessage['on'] }) => {
          const note = (): void => void seen.push(service.context.current()?.facts.path);
          response.on('finish', note);
          const answer = async (): Promise<void> => {
            for await (const _chunk of request) note();
            note();
            response.end('x');
          };
          setImmediate(() => void answer());
          request.on('end', note);
        },
      );
      const files = await mesh.files('web');
      for (const path of ['/one', '/two'])
        await mesh.curl(files, `https://localhost:${service.port}${path}`, ...args);
      expect(new Set(seen.splice(0, seen.length / 2))).toEqual(new Set(['/one']));
      expect(new Set(seen)).toEqual(new Set(['/two']));
    },
  );

  it('keeps the call of each of two pipelined requests, and of one whose client leaves', async () => {
    const seen: [string, unknown][] = [];
    const service = await mesh.serve((request: IncomingMessage, response: ServerResponse) => {
      const { url = '' } = request;
      const note = (): void => void seen.push([url, service.context.current()?.facts.path]);
      for (const event of ['end', 'close', 'error']) request.on(event, note);
      for (const event of ['drain', 'finish', 'close']) response.on(event, note);
      if (url === '/big') {
        response.once('drain', () => response.end());
        while (response.write(Buffer.alloc(1_048_576)));
      } else if (url === '/left') response.write('begun');
      else response.end();
    });
    const [pipelining, leaving] = [await mesh.raw(service.port), await mesh.raw(service.port)];
    pipelining.write('GET /big HTTP/1.1\r\nHost: a\r\n\r\nGET /quick HTTP/1.1\r\nHost: a\r\n\r\n');
    leaving.write('GET /left HTTP/1.1\r\nHost: a\r\n\r\n');
    pipelining.resume();
    await once(leaving, 'data');
    leaving.destroy();
    await service.live.whenIdle();
    expect(new Set(seen.map(([url]) => url))).toEqual(new Set(['/big', '/quick', '/left']));
    for (const [url, path] of seen) expect(path).toBe(url);
  });

  const ends: readonly [string, (client: Socket, first: ServerResponse) => void][] = [
    ['whose client leaves', (client) => client.destroy()],
    [
      'behind a reply that closes the connection',
      (_, first) => first.writeHead(200, { connection: 'close' }).end(),
    ],
  ];
  it.each(ends)('ends the call of a pipelined request %s', async (_, leave) => {
    const ended: string[] = [];
    const layer: Layer = {
      role: 'note',
      scope: 'call',
      why: 'test',
      bind: () => ({ end: ({ facts }, { error }) => void ended.push(`${facts.path} ${error?.code ?? ''}`) }),
    };
    const given: ServerResponse[] = [];
    const service = await mesh.serve(
      (_request: IncomingMessage, response: ServerResponse) => {
        given.push(response);
        const [first, second] = given;
        if (first === undefined || second === undefined) return;
        second.end();
        leave(client, first);
      },
      { layers: [layer] },
    );
    const client = await mesh.raw(service.port);
    client.resume().write('GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(client, 'close');
    await service.live.whenIdle();
    expect(ended).toContain('/second INMESH_ERR_CANCELLED');
  });

  it('lets a layer see and change the head of a reply, however it is written', async () => {
    const layer: Layer = {
      role: 'stamp',
      scope: 'call',
      why: 'test',
      bind: () => ({
        head: (_call, head) =>
          head.headers.set('x-stamp', `${head.httpStatus} ${head.headers.get('x-app') ?? ''}`),
      }),
    };
    const { port } = await mesh.serve(
      (
        request: IncomingMessage,
        response: {
          writeHead(status: number, ...rest: unknown[]): void;
          setHeader(name: string, value: string): void;
          end(text?: string): void;
        },
      ) => {
        if (request.url === '/object') response.writeHead(201, { 'X-App': 'object' });
        else if (request.url === '/list')
          response.writeHead(202, 'Fine', ['x-app', 'list', 'set-cookie', 'a', 'set-cookie', 'b']);
        else response.setHeader('x-app', 'set');
        response.end('body');
      },
      { layers: [layer] },
    );
    const web = await mesh.files('web');
    const head = async (path: string): Promise<string> =>
      (await mesh.curl(web, `https://localhost:${port}${path}`, '-i')).out.toLowerCase();
    expect(await head('/')).toContain('x-stamp: 200 set');
    expect(await head('/object')).toContain('x-stamp: 201 object');
    expect(await head('/list')).toMatch(/202 fine[^]*set-cookie: a[^]*set-cookie: b[^]*x-stamp: 202 list/);
  });

  it('stops a running call when it is decided again', async () => {
    const service = await mesh.serve((_request: IncomingMessage, response: { write(text: string): void }) =>
      response.write('first'),
    );
    const socket = await mesh.raw(service.port);
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'data');
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
    await once(socket, 'close');
    await service.live.whenIdle();
  });

  it('drains: replies under way end, keep-alive connections close, nothing is cut', async () => {
    let release: () => void = () => {};
    const service = await mesh.serve((_request: IncomingMessage, response: { end(text: string): void }) => {
      release = () => response.end('late');
    });
    const idle = await mesh.raw(service.port);
    const busy = await mesh.raw(service.port);
    let text = '';
    busy.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    busy.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    while (service.live.size === 0) await new Promise(setImmediate);
    const drained = service.listener.drain({ delayMs: 0, timeoutMs: 10_000 });
    release();
    await Promise.all([drained, once(busy, 'close'), once(idle.resume(), 'close')]);
    expect(text).toContain('late');
    expect(text).toContain('200 OK');
  });

  it('serves no new call to a connection of an older trust epoch', async () => {
    const { createTestCa } = await import('@inmesh/identity/testing');
    let calls = 0;
    const service = await mesh.serve((_request: IncomingMessage, response: ServerResponse) => {
      calls++;
      response.end('ok');
    });
    const socket = await mesh.raw(service.port);
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
    const ask = 'GET / HTTP/1.1\r\nHost: orders\r\n\r\n';
    socket.write(ask);
    while (!text.includes('ok')) await once(socket, 'data');
    const other = await createTestCa('a.test');
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/orders');
    const trust = (...pems: string[]): void =>
      service.source.update({ certPem, keyPem, bundles: new Map([['a.test', pems.join('')]]) });
    trust(mesh.ca.bundlePem, other.bundlePem);
    socket.write(ask);
    while (text.split('ok').length < 3) await once(socket, 'data');
    trust(mesh.ca.bundlePem);
    socket.write(ask);
    await once(socket, 'close');
    expect(text).toMatch(/HTTP\/1.1 503 .*\r\n(?:.*\r\n)*x-inmesh-nack: 1/);
    expect(calls).toBe(2);
    expect(
      await mesh.exchange(service.port, ask.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')),
    ).toContain('ok');
  });
});
