import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type Call, type CallEnd, type Layer, type LocalReply, MeshError, silentLogger } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestMesh } from './harness.js';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const upgrade = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n`;
const connectTunnel = 'CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n';

/** Waits in `request` until released. */
function waiting(ends: CallEnd[]): { readonly layer: Layer; readonly release: () => void } {
  let release: () => void = () => {};
  return {
    release: () => release(),
    layer: {
      role: 'wait',
      scope: 'call',
      why: 'test',
      bind: () => ({
        request: () => new Promise((resolve) => (release = () => resolve(undefined))),
        end: (_call, end) => void ends.push(end),
      }),
    },
  };
}

describe('edges of the listener', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  async function session(port: number, socket?: TLSSocket): Promise<ClientHttp2Session> {
    const secured = socket ?? (await mesh.raw(port, 'web', ['h2']));
    const client = connectHttp2('https://localhost', { createConnection: () => secured });
    client.on('error', () => {});
    mesh.cleanup(() => client.destroy());
    return client;
  }

  it('cuts a client that ignores the end of a refused upgrade', async () => {
    const runtime = createManualRuntime();
    const deny: Layer = {
      role: 'deny',
      scope: 'call',
      why: 'test',
      bind: () => ({
        request: () => ({ kind: 'reject', error: new MeshError('INMESH_ERR_AUTHZ_DENIED', 'no') }),
      }),
    };
    const { port, live } = await mesh.serve(
      createServer().on('upgrade', () => {}),
      {
        mode: 'disable',
        layers: [deny],
        runtime,
      },
    );
    const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {});
    mesh.cleanup(() => void socket.destroy());
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.write(upgrade('/ws'));
    await once(socket, 'end');
    expect(text).toMatch(/^HTTP\/1\.1 403/);
    expect(live.size).toBe(1);
    await runtime.advance(2000);
    await live.whenIdle();
  });

  it('over HTTP/2, a client that leaves is no success', async () => {
    const ends: CallEnd[] = [];
    const signals: AbortSignal[] = [];
    const layer: Layer = {
      role: 'see',
      scope: 'call',
      why: 'test',
      bind: () => ({
        request: (call: Call) => void signals.push(call.signal),
        end: (_call, end) => void ends.push(end),
      }),
    };
    const handler: Handler = (request, response) => {
      response.write('first');
      if (request.url === '/whole') response.end('last');
    };
    const { port, live } = await mesh.serve(handler, { http2: true, layers: [layer] });
    const client = await session(port);
    const leave = client.request({ ':path': '/leave' });
    await once(leave, 'data');
    leave.close(8);
    await live.whenIdle();
    const whole = client.request({ ':path': '/whole' });
    whole.resume();
    await once(whole, 'close');
    await live.whenIdle();
    const cut = client.request({ ':path': '/cut' }).on('error', () => {});
    await once(cut, 'data');
    client.destroy();
    await live.whenIdle();
    expect(ends.map((end) => end.status)).toEqual(['cancelled', 'ok', 'cancelled']);
    expect(signals.map((signal) => signal.aborted)).toEqual([true, false, true]);
  });

  it.each([['istio'], [undefined]])('with ALPN %s, the first bytes inside TLS decide', async (protocol) => {
    const handler: Handler = (request, response) => response.end(`${request.httpVersion} ${request.url}`);
    const { port } = await mesh.serve(handler, { http2: true });
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/web');
    const dial = async (): Promise<TLSSocket> => {
      const socket = connectTls({
        port,
        host: '127.0.0.1',
        cert: certPem,
        key: keyPem,
        rejectUnauthorized: false,
        ...(protocol === undefined ? {} : { ALPNProtocols: [protocol] }),
      }).on('error', () => {});
      await once(socket, 'secureConnect');
      mesh.cleanup(() => void socket.destroy());
      return socket;
    };
    const stream = (await session(port, await dial())).request({ ':path': '/two' });
    let text = '';
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    await once(stream, 'close');
    expect(text).toBe('2.0 /two');
    const one = await dial();
    // Byte by byte, and the body later.
    for (const byte of 'POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n')
      one.write(byte);
    one.write('xx');
    text = '';
    one.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    await once(one, 'close');
    expect(text).toContain('1.1 /one');
    const tls = await dial();
    tls.write(Buffer.from([0x16, 3, 1, 0, 5]));
    await once(tls.resume(), 'close');
  });

  it('cleans probes over plaintext like every request', async () => {
    const handler: Handler = (request, response) =>
      response.end(JSON.stringify([request.headers, request.rawHeaders]));
    const { port } = await mesh.serve(handler, { probePaths: ['/livez'] });
    const send = async (head: string): Promise<string> => {
      const socket = connectTcp(port, '127.0.0.1').on('error', () => {});
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      socket.write(`${head}\r\nConnection: close\r\n\r\n`);
      await once(socket, 'close');
      return text;
    };
    const forged = await send(
      'GET /livez HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=spiffe://a.test/admin\r\nx-kept: 1',
    );
    expect(forged).toContain('x-kept');
    expect(forged.toLowerCase()).not.toContain('client-cert');
    expect(await send('HEAD /livez HTTP/1.1\r\nHost: a')).toContain('200 OK');
    expect(await send('GET /livez HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b')).toBe('');
    expect(await send('GET /livez HTTP/1.1\r\nHost: a\r\nHost: b')).toBe('');
    expect(await send('GET http://b/livez HTTP/1.1\r\nHost: b')).toBe('');
  });

  it('says with the first request that a router is unknown, once', async () => {
    const logged: string[] = [];
    const logger = { ...silentLogger, info: (_fields: object, text: string) => void logged.push(text) };
    const handler: Handler = (_request, response) => response.end();
    const { port } = await mesh.serve(handler, { logger });
    expect(logged).toEqual([]);
    for (let i = 0; i < 2; i++)
      await mesh.exchange(port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    expect(logged).toEqual([expect.stringContaining('router unknown')]);
  });

  it('shows policies :path with its query, normalized, over both protocols', async () => {
    const seen: unknown[] = [];
    const layer: Layer = {
      role: 'see',
      scope: 'call',
      why: 'test',
      bind: () => ({
        request: ({ headers }: Call) => void seen.push(headers.get(':path'), headers.all(':path')),
      }),
    };
    const handler: Handler = (_request, response) => response.end();
    const { port } = await mesh.serve(handler, { http2: true, layers: [layer] });
    await mesh.exchange(port, 'GET http://a//x/../y?q=1#f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    const stream = (await session(port)).request({ ':path': '//x/../y?q=1' });
    stream.resume();
    await once(stream, 'close');
    expect(seen).toEqual(['/y?q=1', ['/y?q=1'], '/y?q=1', ['/y?q=1']]);
  });

  it.each([
    ['an upgrade', upgrade('/ws')],
    ['a CONNECT', connectTunnel],
  ])('does not start %s for a client that left during an asynchronous decision', async (_what, head) => {
    let calls = 0;
    const ends: CallEnd[] = [];
    const { layer, release } = waiting(ends);
    const server = createServer()
      .on('upgrade', () => calls++)
      .on('connect', () => calls++);
    const { port, live } = await mesh.serve(server, { layers: [layer], mode: 'permissive' });
    for (const [early, isPlain] of [
      ['', false],
      ['early', false],
      ['', true],
      ['early', true],
    ] as const) {
      const socket = isPlain ? connectTcp(port, '127.0.0.1') : await mesh.raw(port);
      socket.write(head + early);
      while (live.size === 0) await new Promise(setImmediate);
      socket.destroy();
      await live.whenIdle();
      release();
      await new Promise(setImmediate);
    }
    expect(calls).toBe(0);
    expect(ends.map((end) => end.status)).toEqual(Array(4).fill('cancelled'));
  });

  it('loses no byte that a client sends before its upgrade is decided', async () => {
    const { layer, release } = waiting([]);
    const server = createServer().on('upgrade', (_request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n\r\n${head.toString()}`);
      socket.pipe(socket);
    });
    const { port, live } = await mesh.serve(server, { layers: [layer] });
    const socket = await mesh.raw(port);
    socket.write(`${upgrade('/ws')}one `);
    while (live.size === 0) await new Promise(setImmediate);
    socket.write('two ');
    // An answer on a second connection: by then the first was read.
    socket.write('three ');
    await new Promise(setImmediate);
    release();
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.write('four');
    while (!text.endsWith('four')) await once(socket, 'data');
    expect(text.split('\r\n\r\n')[1]).toBe('one two three four');
  });

  it.each([
    ['101 Switching Protocols', '', '880203e9'],
    // Node 26 reads the body by itself and hands over another stream.
    ['101 Switching Protocols', 'Content-Length: 2\r\n', '880203e9'],
    ['400 Bad Request', '', ''],
  ])(
    'ends a WebSocket that was answered %s, asked for with "%s", as it should',
    async (status, field, last) => {
      const ends: CallEnd[] = [];
      const layer: Layer = {
        role: 'see',
        scope: 'call',
        why: 'test',
        bind: () => ({ end: (_call, end) => void ends.push(end) }),
      };
      const server = createServer().on('upgrade', (_request: IncomingMessage, socket: Duplex) => {
        socket.write(`HTTP/1.1 ${status}\r\n\r\n`);
      });
      const { port, listener } = await mesh.serve(server, { layers: [layer] });
      const socket = await mesh.raw(port);
      let bytes = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => (bytes = Buffer.concat([bytes, chunk])));
      const head = upgrade('/ws')
        .replace('Upgrade: x', 'Upgrade: websocket')
        .replace(/\r\n$/, `${field}\r\n`);
      socket.write(head);
      await once(socket, 'data');
      if (field !== '') socket.write('ab');
      const closed = once(socket, 'close');
      await listener.drain({ delayMs: 0, timeoutMs: 50 });
      await closed;
      const sent = `HTTP/1.1 ${status}\r\n\r\n`;
      expect(bytes.subarray(sent.length).toString('hex')).toBe(last);
      expect(ends).toMatchObject([{ responseBytes: bytes.length }]);
      expect(ends[0]?.requestBytes).toBeGreaterThanOrEqual(head.length);
    },
  );

  const badReplies: readonly [string, LocalReply][] = [
    ['a line break in a header', { httpStatus: 200, headers: [['x-a', 'a\r\nx-b: b']] }],
    ['a header name that is none', { httpStatus: 200, headers: [['x a', 'a']] }],
    ['a pseudo-header', { httpStatus: 200, headers: [[':status', '200']] }],
    ['status 99', { httpStatus: 99 }],
    ['status 101', { httpStatus: 101 }],
    ['status 1000', { httpStatus: 1000 }],
    ['a body that is an object', { httpStatus: 200, body: {} as unknown as string }],
  ];
  it.each(badReplies)('answers 500 where a layer replies with %s, and says so', async (_what, reply) => {
    const ends: CallEnd[] = [];
    const logged: unknown[] = [];
    const layer: Layer = {
      role: 'bad',
      scope: 'call',
      why: 'test',
      bind: () => ({ request: () => ({ kind: 'reply', reply }), end: (_call, end) => void ends.push(end) }),
    };
    const { port, live } = await mesh.serve(
      createServer().on('upgrade', () => {}),
      {
        http2: true,
        layers: [layer],
        logger: { ...silentLogger, error: (fields) => void logged.push((fields as { code?: string }).code) },
      },
    );
    const get = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    expect(await mesh.exchange(port, get)).toMatch(/^HTTP\/1\.1 500/);
    expect(await mesh.exchange(port, upgrade('/'))).toMatch(/^HTTP\/1\.1 500/);
    const stream = (await session(port)).request({ ':path': '/' });
    const [head] = (await once(stream, 'response')) as [Record<string, unknown>];
    expect(head[':status']).toBe(500);
    stream.resume();
    await once(stream, 'close');
    await live.whenIdle();
    expect(ends.map((end) => end.error?.code)).toEqual(Array(3).fill('INMESH_ERR_LAYER_THREW'));
    expect(logged).toEqual(Array(3).fill('INMESH_ERR_LAYER_THREW'));
  });

  it('frames the reply of a layer itself', async () => {
    const reply: LocalReply = {
      httpStatus: 200,
      headers: [
        ['Content-Length', '999'],
        ['Transfer-Encoding', 'chunked'],
        ['Connection', 'keep-alive'],
      ],
      body: 'body',
    };
    const layer: Layer = {
      role: 'reply',
      scope: 'call',
      why: 'test',
      bind: () => ({ request: () => ({ kind: 'reply', reply }) }),
    };
    const { port } = await mesh.serve(
      createServer().on('upgrade', () => {}),
      { http2: true, layers: [layer] },
    );
    const text = await mesh.exchange(port, upgrade('/'));
    expect(text).toContain('content-length: 4\r\n');
    expect(text).not.toMatch(/999|chunked|keep-alive/);
    const stream = (await session(port)).request({ ':path': '/' });
    const [head] = (await once(stream, 'response')) as [Record<string, unknown>];
    expect(head[':status']).toBe(200);
    stream.close();
  });
});
