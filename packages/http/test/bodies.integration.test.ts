import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
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
});
