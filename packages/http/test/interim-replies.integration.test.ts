import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestMesh } from './harness.js';

const proceed = 'HTTP/1.1 100 Continue\r\n\r\n';
const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n';
const processing = 'HTTP/1.1 102 Processing\r\n\r\n';
const last = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

describe('replies below 200', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  /** An endpoint that answers each request with bytes; counts its connections. */
  const answering = async (
    answer: (socket: TLSSocket, number: number) => void,
  ): Promise<{ readonly port: number; readonly seen: { connections: number; requests: number } }> => {
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/orders');
    const seen = { connections: 0, requests: 0 };
    const server = createServer(
      { cert: certPem, key: keyPem, ca: mesh.ca.bundlePem, requestCert: true },
      (socket) => {
        seen.connections++;
        let text = '';
        socket.on('error', () => {});
        socket.setEncoding('latin1').on('data', (chunk: string) => {
          text += chunk;
          if (/^expect: 100-continue\r$/im.test(text) && text.endsWith('\r\n\r\n'))
            socket.write(hints + proceed + proceed);
          // No request here is sent in more pieces than its head and its body.
          if (!/\r\n\r\n(?:body)?$/.test(text) || (text.startsWith('POST') && !text.endsWith('body'))) return;
          text = '';
          seen.requests++;
          answer(socket, seen.requests);
        });
        mesh.cleanup(() => void socket.destroy());
      },
    ).listen(0, '127.0.0.1');
    await once(server, 'listening');
    mesh.cleanup(() => void server.close());
    return { port: (server.address() as AddressInfo).port, seen };
  };

  it.each([
    ['a 100', [proceed]],
    ['several', [proceed, proceed, proceed]],
    ['a 103', [hints]],
    ['of all kinds', [proceed, hints, processing, proceed]],
    ['in pieces', (proceed + hints + proceed).split('')],
  ])('are waited out by fetch: %s, over one connection', async (_what, before) => {
    const { port, seen } = await answering((socket) => {
      socket.setNoDelay();
      for (const bytes of before) socket.write(bytes);
      socket.write(last);
    });
    const client = await mesh.client({ orders: [port] }, { connections: 1 });
    for (const init of [{}, { method: 'POST', body: 'body' }, {}]) {
      const response = await client.fetch('http://orders/', init);
      expect([response.status, await response.text()]).toEqual([200, 'ok']);
    }
    expect(seen).toEqual({ connections: 1, requests: 3 });
    expect(client.state('orders')).toMatchObject({ activeCalls: 0, stats: { retries: 0 } });
  });

  it('reach who asks the dispatcher for them, except those that nobody asked for', async () => {
    const { port } = await answering((socket) => socket.write(proceed + hints + processing + last));
    const client = await mesh.client({ orders: [port] });
    const infos: number[] = [];
    const { statusCode, body } = await client.dispatcher.request({
      origin: 'http://orders',
      path: '/',
      method: 'GET',
      onInfo: ({ statusCode: status }) => void infos.push(status),
    });
    expect([statusCode, await body.text(), infos]).toEqual([200, 'ok', [103, 102]]);
  });

  it('do not hide that the connection broke after them, nor a 100 within a body', async () => {
    const { port } = await answering((socket, number) => {
      if (number === 1) socket.end(proceed);
      else socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${proceed.length}\r\n\r\n${proceed}`);
    });
    const client = await mesh.client({ orders: [port] });
    const failure = await client
      .fetch('http://orders/', { method: 'POST', body: 'body' })
      .catch((error: Error) => error.cause);
    expect(failure).toMatchObject({ code: 'INMESH_ERR_CONNECTION_LOST', reached: 'maybe' });
    expect(await (await client.fetch('http://orders/')).text()).toBe(proceed);
  });

  it('cannot be asked for by undici, which says so and sends nothing', async () => {
    const { port, seen } = await answering((socket) => socket.write(last));
    const client = await mesh.client({ orders: [port] });
    await expect(
      client.dispatcher.request({
        origin: 'http://orders',
        path: '/',
        method: 'POST',
        headers: { expect: '100-continue' },
        body: 'body',
      }),
    ).rejects.toMatchObject({ code: 'UND_ERR_NOT_SUPPORTED', message: 'expect header not supported' });
    expect(seen.requests).toBe(0);
    expect(client.state('orders').activeCalls).toBe(0);
  });

  it('can be asked for by node:http, which waits for one and goes on waiting at the others', async () => {
    const { port, seen } = await answering((socket) => socket.write(processing + last));
    const client = await mesh.client({ orders: [port] });
    const request = httpRequest('http://orders/', {
      agent: client.agent(),
      method: 'POST',
      headers: { expect: '100-continue', 'content-length': 4 },
    });
    const informations: number[] = [];
    request.on('information', ({ statusCode }) => informations.push(statusCode));
    request.flushHeaders();
    await once(request, 'continue');
    request.end('body');
    const [reply] = (await once(request, 'response')) as [IncomingMessage];
    await once(reply.resume(), 'end');
    expect([reply.statusCode, informations, seen.requests]).toEqual([200, [103, 100, 100, 102], 1]);
  });

  it('are kept from tunnels', async () => {
    const before = proceed + hints + processing;
    const { port } = await answering((socket, number) =>
      socket.write(
        number === 1
          ? `${before}HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n${hints}`
          : `${before}HTTP/1.1 200 OK\r\n\r\n${hints}`,
      ),
    );
    const client = await mesh.client({ orders: [port] }, { connections: 1 });
    const origin = 'http://orders';
    const upgraded = await client.dispatcher.upgrade({ origin, path: '/', protocol: 'x' } as never);
    expect(String(await once(upgraded.socket, 'data'))).toBe(hints);
    upgraded.socket.destroy();
    const connected = await client.dispatcher.connect({ origin, path: 'db:5432' } as never);
    expect(connected.statusCode).toBe(200);
    expect(String(await once(connected.socket, 'data'))).toBe(hints);
    connected.socket.destroy();
  });

  it('of a server that refuses an upgrade are no fault of its endpoint, and ask for no other attempt', async () => {
    const { port, seen } = await answering((socket) =>
      socket.write('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n'),
    );
    const client = await mesh.client({ orders: [port] });
    for (let i = 0; i < 6; i++)
      await expect(
        client.dispatcher.upgrade({ origin: 'http://orders', path: '/', protocol: 'x' } as never),
      ).rejects.toMatchObject({ code: 'UND_ERR_SOCKET', message: 'bad upgrade' });
    const state = client.state('orders');
    expect(state.endpoints[0]).toMatchObject({ failuresInRow: 0, localErrorsInRow: 0, active: 0 });
    expect([seen.requests, state.stats.retries, state.activeCalls]).toEqual([6, 0, 0]);
  });
});
