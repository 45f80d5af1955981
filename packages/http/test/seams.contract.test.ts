// What we rely on of node:http, node:http2 and node:tls without a public promise. Each test names the seam; one that
// fails on a Node line says what broke for us there.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
} from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { mint } from '@inmesh/identity/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { http2SessionOf } from '../src/http2-session-of.js';
import { sentType } from '../src/sent-type.js';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function listen(server: {
  listen(port: number, host: string): unknown;
  address(): unknown;
  close(): unknown;
}): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server as never, 'listening');
  closers.push(() => void server.close());
  return (server.address() as AddressInfo).port;
}

function open(port: number): Socket {
  const socket = connectTcp(port, '127.0.0.1').on('error', () => {});
  closers.push(() => socket.destroy());
  return socket;
}

describe('the listening server is the application’s own (b1, b3)', () => {
  it('b1: a server that is only handed sockets loses address() and closeAllConnections(): why we do not do that', async () => {
    const inner = createServer((_request, response) => response.end('ok'));
    const front = createTcpServer((socket) => inner.emit('connection', socket));
    const socket = open(await listen(front));
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'data');
    expect(inner.address()).toBeNull();
    inner.closeAllConnections();
    await new Promise(setImmediate);
    // Not tracked: the connection is still there.
    expect(socket.closed).toBe(false);
  });

  it('b3: its connection listener can be swapped, and run later on another socket, TLS or not', async () => {
    const ca = await mint({
      uris: ['spiffe://t.test'],
      notBeforeMs: 1_600_000_000_000,
      notAfterMs: 4_000_000_000_000,
      dnsNames: ['localhost'],
    });
    const server = createServer(
      { headersTimeout: 300, connectionsCheckingInterval: 50 },
      (request, response) =>
        response.end(`${(request.socket as { encrypted?: boolean }).encrypted ?? false}`),
    );
    const originals = server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
    expect(originals).toHaveLength(1);
    server.removeAllListeners('connection');
    const tls = createTlsServer({ key: ca.keyPem, cert: ca.certPem }, (secured) =>
      originals[0]?.call(server, secured),
    );
    server.on('connection', (socket) => {
      socket.once('readable', () => {
        const byte = socket.read(1) as Buffer;
        socket.unshift(byte);
        if (byte[0] === 0x16) tls.emit('connection', socket);
        else originals[0]?.call(server, socket);
      });
    });
    const port = await listen(server);
    const read = async (socket: Socket): Promise<string> => {
      let text = '';
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
      socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      await once(socket, 'close');
      return text;
    };
    expect(await read(open(port))).toMatch(/false$/);
    expect(await read(connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }))).toMatch(/true$/);
    // Timeouts of the server work inside TLS, and its close() ends connections it got this way.
    const slow = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }).on('error', () => {});
    await once(slow, 'secureConnect');
    slow.write('GET / HTTP/1.1\r\n');
    await once(slow.resume(), 'close');
    const idle = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }).on('error', () => {});
    await once(idle, 'secureConnect');
    idle.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(idle, 'data');
    server.closeAllConnections();
    await once(idle.resume(), 'close');
  });

  it('emit can be overridden for every event that hands a request over', async () => {
    const server = createServer(() => {});
    const seen: string[] = [];
    const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean;
    server.emit = ((event: string, ...args: unknown[]) => {
      if (['request', 'checkContinue', 'upgrade', 'connect'].includes(event)) {
        seen.push(event);
        (args[1] as ServerResponse | Socket).destroy();
        return true;
      }
      return emit(event, ...args);
    }) as Server['emit'];
    for (const event of ['checkContinue', 'upgrade', 'connect']) server.on(event, () => {});
    const port = await listen(server);
    for (const head of [
      'GET / HTTP/1.1',
      'POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1',
      'GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x',
      'CONNECT a:1 HTTP/1.1',
    ]) {
      const socket = open(port);
      socket.write(`${head}\r\nHost: a\r\n\r\n`);
      await once(socket.resume(), 'close');
    }
    expect(seen).toEqual(['request', 'checkContinue', 'upgrade', 'connect']);
  });
});

describe('views of request headers (b7)', () => {
  it('deleting from headers alone leaves headersDistinct; views made before a change keep their own storage', async () => {
    const seen: unknown[] = [];
    const server = createServer((request: IncomingMessage, response) => {
      delete request.headers['x-spoof'];
      seen.push(request.headersDistinct['x-spoof']);
      delete request.headersDistinct['x-spoof'];
      const i = request.rawHeaders.findIndex((name) => name.toLowerCase() === 'x-spoof');
      request.rawHeaders.splice(i, 2);
      seen.push(
        request.headers['x-spoof'],
        request.headersDistinct['x-spoof'],
        request.rawHeaders.join().includes('spoof'),
      );
      response.end();
    });
    const socket = open(await listen(server));
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nX-Spoof: evil\r\nConnection: close\r\n\r\n');
    await once(socket.resume(), 'close');
    expect(seen).toEqual([['evil'], undefined, undefined, false]);
  });
});

describe('a client that leaves during an asynchronous decision (cl)', () => {
  it('is seen as a destroyed socket; a handler started afterwards would hear nothing', async () => {
    let release: () => void = () => {};
    const left = new Promise<ServerResponse>((resolve) => {
      const server = createServer((_request, response) => {
        response.once('close', () => resolve(response));
        release();
      });
      void listen(server).then((port) => {
        const socket = open(port);
        release = () => socket.destroy();
        socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab');
      });
    });
    const response = await left;
    expect(response.destroyed || response.socket?.destroyed === true).toBe(true);
    let events = 0;
    response.on('close', () => events++);
    await new Promise(setImmediate);
    expect(events).toBe(0);
  });
});

describe('plain HTTP over HTTP/2 (b6)', () => {
  it('a stream of one HTTP/2 server can be handed to another that never listens', async () => {
    const compat = createHttp2Server((request, response) =>
      response.end(`${request.url} ${request.httpVersion}`),
    );
    const server = createHttp2Server();
    server.on('stream', (...parts: unknown[]) => compat.emit('stream', ...parts));
    const port = await listen(server);
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    closers.push(() => session.destroy());
    const stream = session.request({ ':path': '/x' });
    expect(String((await once(stream, 'data'))[0])).toBe('/x 2.0');
  });
});

describe('a socket knows the HTTP/2 session that a server made of it', () => {
  it('at once, and no other socket does', async () => {
    const http2 = createHttp2Server();
    const found: unknown[] = [];
    const sessions: unknown[] = [];
    http2.on('session', (session) => sessions.push(session));
    const server = createTcpServer((socket) => {
      found.push(http2SessionOf(socket));
      http2.emit('connection', socket);
      found.push(http2SessionOf(socket));
    });
    const client = connectHttp2(`http://127.0.0.1:${await listen(server)}`);
    closers.push(() => client.destroy());
    await once(client, 'remoteSettings');
    expect(sessions).toHaveLength(1);
    expect(found).toEqual([undefined, sessions[0]]);
  });
});

describe('the head of a reply that was sent', () => {
  const types = [
    [
      'given to writeHead',
      (response: ServerResponse) => response.writeHead(200, { 'Content-Type': 'text/a' }),
    ],
    ['given as a list', (response: ServerResponse) => response.writeHead(200, ['Content-Type', 'text/a'])],
    ['set before', (response: ServerResponse) => response.setHeader('content-type', 'text/a').flushHeaders()],
  ] as const;
  it.each(types)('names its content type, %s', async (_how, send) => {
    const found = new Promise<string | undefined>((resolve) => {
      const server = createServer((_request, response) => {
        send(response);
        response.write('x');
        resolve(sentType(response));
      });
      void listen(server).then((port) => open(port).write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'));
    });
    expect(await found).toBe('text/a');
  });

  it('names its content type over HTTP/2', async () => {
    const found = new Promise<string | undefined>((resolve) => {
      const server = createHttp2Server((_request, response) => {
        response.writeHead(200, { 'content-type': 'text/a' });
        response.write('x');
        resolve(sentType(response));
      });
      void listen(server).then((port) => {
        const session = connectHttp2(`http://127.0.0.1:${port}`);
        closers.push(() => session.destroy());
        session.request();
      });
    });
    expect(await found).toBe('text/a');
  });
});
