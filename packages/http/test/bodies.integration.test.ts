import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replayBytes } from '../src/replay-body.js';
import { calls, foreign, type Handler, noOutlier, text } from './foreign.js';
import { TestMesh } from './harness.js';

describe('request bodies', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it('goes to another endpoint when nobody listens, whatever the method', async () => {
    let served = 0;
    const { port } = await foreign(mesh, (request, response) => {
      served++;
      text('fine')(request, response);
    });
    const client = await mesh.client({ orders: [1, 2, port] }, { rules: noOutlier });
    for (let i = 0; i < 6; i++) {
      const reply = await client.fetch('http://orders/', { method: 'POST', body: 'pay' });
      expect([reply.status, await reply.text()]).toEqual([200, 'fine']);
    }
    expect(served).toBe(6);
    expect(client.state('orders').budget.tokens).toBe(10);
  });

  it('replays a streamed body that was kept, byte for byte', async () => {
    const body = Buffer.alloc(48 * 1024, 'abcdefgh');
    const digests: string[] = [];
    let isFirst = true;
    const handler: Handler = (request, response) => {
      const hash = createHash('sha256');
      let length = 0;
      const fails = isFirst;
      isFirst = false;
      request.on('error', () => {});
      request.on('data', (chunk: Buffer) => {
        hash.update(chunk);
        length += chunk.length;
        if (fails && length >= 20_000) request.socket.destroy();
      });
      request.on('end', () => {
        // What came with the same read is still told.
        if (request.socket.destroyed) return;
        digests.push(hash.digest('hex'));
        response.end('stored');
      });
    };
    const one = await foreign(mesh, handler);
    const two = await foreign(mesh, handler);
    const client = await mesh.client({ orders: [one.port, two.port] });
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < body.length; at += 4096) yield body.subarray(at, at + 4096);
    }
    const reply = await client.fetch('http://orders/', {
      method: 'PUT',
      body: Readable.toWeb(Readable.from(chunks())) as ReadableStream,
      duplex: 'half',
    } as RequestInit);
    expect(await reply.text()).toBe('stored');
    expect(digests).toEqual([createHash('sha256').update(body).digest('hex')]);
    expect(replayBytes()).toBe(0);
  });

  it('does not repeat a body that is too large to keep', async () => {
    let served = 0;
    const { port } = await foreign(mesh, (request) => {
      served++;
      let length = 0;
      request.on('error', () => {});
      request.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > 1_000_000) request.socket.destroy();
      });
    });
    const client = await mesh.client({ orders: [port] });
    const failure = await client
      .fetch('http://orders/', {
        method: 'PUT',
        body: Readable.toWeb(
          Readable.from(Array.from({ length: 160 }, () => Buffer.alloc(65_536))),
        ) as ReadableStream,
        duplex: 'half',
      } as RequestInit)
      .catch((error: Error) => error);
    expect((failure as Error).cause).toMatchObject({ code: 'INMESH_ERR_CONNECTION_LOST' });
    expect([served, replayBytes()]).toEqual([1, 0]);
  });

  it('ends a call whose body throws, and sends it once', async () => {
    let served = 0;
    const { port } = await foreign(mesh, (request) => {
      served++;
      request.on('error', () => {}).resume();
    });
    const client = await mesh.client({ orders: [port] });
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('begin');
      throw new Error('disk on fire');
    }
    const failure = await client.dispatcher
      .request({ origin: 'http://orders', path: '/', method: 'PUT', body: Readable.from(broken()) })
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'INMESH_ERR_BODY_FAILED', cause: { message: 'disk on fire' } });
    expect(served).toBeLessThanOrEqual(1);
    expect(replayBytes()).toBe(0);
  });

  it('sends a body whole although an attempt before it is still connecting', async () => {
    // Accepts TCP and never speaks TLS: the attempt times out while it connects, and fails once more, later.
    const { createServer: createTcp } = await import('node:net');
    const sockets: import('node:net').Socket[] = [];
    const mute = createTcp((socket) => void sockets.push(socket.on('error', () => {}))).listen(
      0,
      '127.0.0.1',
    );
    await once(mute, 'listening');
    mesh.cleanup(() => void mute.close());
    const body = Buffer.alloc(30_000, 'x');
    let length = 0;
    const { port } = await foreign(mesh, (request, response) => {
      request.on('data', (chunk: Buffer) => {
        // What the other attempt left behind ends in the middle of this body.
        for (const socket of sockets.splice(0)) socket.destroy();
        length += chunk.length;
      });
      request.on('end', () => response.end(String(length)));
    });
    const client = await mesh.client(
      { orders: [(mute.address() as AddressInfo).port, port] },
      { calls: calls({}, { perTryTimeoutMs: 200 }), rules: { balancer: 'round-robin', outlier: undefined } },
    );
    async function* slowly(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < body.length; at += 1000) {
        await new Promise((resolve) => setImmediate(resolve));
        yield body.subarray(at, at + 1000);
      }
    }
    for (let i = 0; i < 4; i++) {
      length = 0;
      const reply = await client.fetch('http://orders/', {
        method: 'PUT',
        body: Readable.toWeb(Readable.from(slowly())) as ReadableStream,
        duplex: 'half',
      } as RequestInit);
      expect(await reply.text()).toBe('30000');
    }
  });

  it('never lets half a body seem the whole, when a discarded reply is slow or endless', async () => {
    const stored: { length: number; complete: boolean }[] = [];
    const note = (request: IncomingMessage, done: () => void): void => {
      let length = 0;
      request.on('data', (chunk: Buffer) => (length += chunk.length));
      request.on('error', () => {});
      request.on('close', () => {
        if (request.complete) stored.push({ length, complete: true });
      });
      request.on('end', done);
    };
    const busy = await foreign(mesh, (request, response) => {
      note(request, () => {});
      // An answer before the body has come, that then never ends.
      response.writeHead(503, { 'x-inmesh-nack': '1' });
      response.write('busy');
    });
    const fine = await foreign(mesh, (request, response) => note(request, () => response.end('stored')));
    const client = await mesh.client(
      { orders: [busy.port, fine.port] },
      { rules: { balancer: 'round-robin', outlier: undefined } },
    );
    async function* slowly(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 20; i++) {
        await new Promise((resolve) => setTimeout(resolve, 15));
        yield Buffer.alloc(100, 'x');
      }
    }
    for (const method of ['PUT', 'POST', 'PUT', 'POST']) {
      const reply = await client.fetch('http://orders/', {
        method,
        body: Readable.toWeb(Readable.from(slowly())) as ReadableStream,
        duplex: 'half',
      } as RequestInit);
      expect([reply.status, await reply.text()]).toEqual([200, 'stored']);
    }
    expect(stored).toEqual(Array.from({ length: 4 }, () => ({ length: 2000, complete: true })));
  });

  it('sends on a body that is the reply of another call, whole and once', async () => {
    const source = await foreign(mesh, text('y'.repeat(4800)), 'source');
    const lengths: number[] = [];
    let resets = 0;
    const { port } = await foreign(mesh, (request, response) => {
      let length = 0;
      request.on('error', () => {});
      request.on('data', (chunk: Buffer) => (length += chunk.length));
      request.on('end', () => {
        if (resets++ === 0) request.socket.destroy();
        else {
          lengths.push(length);
          response.end('ok');
        }
      });
    });
    const client = await mesh.client({ orders: [port], source: [source.port] });
    const { body } = await client.dispatcher.request({ origin: 'http://source', path: '/', method: 'GET' });
    const reply = await client.dispatcher.request({
      origin: 'http://orders',
      path: '/',
      method: 'PUT',
      body,
    });
    expect([reply.statusCode, await reply.body.text(), lengths]).toEqual([200, 'ok', [4800]]);
  });

  it('holds little of a large upload', async () => {
    const { port } = await foreign(mesh, (request, response) => {
      request.resume().on('end', () => response.end('ok'));
    });
    const client = await mesh.client({ orders: [port] });
    const chunk = Buffer.alloc(65_536, 'z');
    async function* large(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 1600; i++) {
        yield Buffer.from(chunk);
        if (i % 200 !== 199) continue;
        gc();
        most = Math.max(most, process.memoryUsage().arrayBuffers - before);
      }
    }
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    gc();
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    const reply = await client.dispatcher.request({
      origin: 'http://orders',
      path: '/',
      method: 'PUT',
      body: Readable.from(large()),
    });
    expect(await reply.body.text()).toBe('ok');
    // 100 MiB went through.
    expect(most).toBeLessThan(48 * 1024 * 1024);
  });
});
