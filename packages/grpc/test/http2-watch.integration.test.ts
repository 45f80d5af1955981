import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { createManualRuntime, type ManualRuntime } from '@inmesh/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { echo, TestMesh, type TestService } from './harness.js';

const headersTimeoutMs = 1000;
const preface = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);
/** HEADERS of stream 1, whose body is still to come: GET / of http://a. */
const openStream = Buffer.from([0, 0, 6, 1, 4, 0, 0, 0, 1, 0x83, 0x84, 0x86, 0x01, 1, 97]);
/** A frame that claims 4 MiB: nghttp2 gives the connection up, and node:http2 stops reading. */
const hugeFrame = Buffer.from([0x40, 0, 0, 0, 0, 0, 0, 0, 1]);

describe('idle connections of a gRPC listener', () => {
  let mesh: TestMesh;
  let runtime: ManualRuntime;
  let service: TestService;
  beforeEach(async () => {
    mesh = await TestMesh.start();
    runtime = createManualRuntime();
    service = await mesh.serve({}, { mode: 'permissive', runtime, headersTimeoutMs });
  });
  afterEach(() => mesh.close());

  const open = (): Socket => {
    const socket = connectTcp({ port: service.port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {}).resume();
    mesh.cleanup(() => void socket.destroy());
    return socket;
  };
  const connections = (): Promise<number> =>
    new Promise((resolve, reject) =>
      service.listener.server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
    );
  async function untilConnections(count: number): Promise<void> {
    while ((await connections()) !== count) await new Promise(setImmediate);
  }

  it('leaves no socket of 100 connections of garbage', async () => {
    const sockets = await Promise.all(
      Array.from({ length: 100 }, async () => {
        const socket = open();
        socket.write(Buffer.concat([preface, hugeFrame, randomBytes(300)]));
        await once(socket, 'data');
        return socket;
      }),
    );
    for (const socket of sockets.slice(50)) socket.destroy();
    await runtime.advance(headersTimeoutMs * 4);
    await untilConnections(0);
    expect(runtime.armed).toBe(0);
  });

  it('cuts one that never opens a stream', async () => {
    const socket = open();
    socket.write(preface);
    await once(socket, 'data');
    await runtime.advance(headersTimeoutMs - 100);
    expect(await connections()).toBe(1);
    await runtime.advance(200);
    await runtime.advance(2000);
    await untilConnections(0);
  });

  it('ends with a client that only closes its half', async () => {
    const socket = open();
    socket.write(preface);
    await once(socket, 'data');
    socket.end();
    await untilConnections(0);
  });

  it('keeps one that was used while its peer is heard', async () => {
    const session = connectHttp2(`http://127.0.0.1:${service.port}`);
    mesh.cleanup(() => session.destroy());
    const stream = session.request({
      ':path': echo.Unary.path,
      ':method': 'POST',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.end(Buffer.from([0, 0, 0, 0, 1, 65]));
    const trailers = once(stream, 'trailers');
    stream.resume();
    expect((await trailers)[0]).toMatchObject({ 'grpc-status': String(grpc.status.OK) });
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => session.ping(resolve));
      await runtime.advance(headersTimeoutMs);
    }
    expect(session.destroyed).toBe(false);
  });

  it('cuts one that was used when its peer answers no more', async () => {
    const socket = open();
    socket.write(Buffer.concat([preface, openStream]));
    await once(socket, 'data');
    for (let i = 0; i < 4; i++) await runtime.advance(headersTimeoutMs);
    await untilConnections(0);
  });
});
