import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { createManualRuntime, type ManualRuntime } from '@inmesh/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GrpcSeat } from '../src/index.js';
import { TestMesh, type TestService } from './harness.js';

const headersTimeoutMs = 1000;
const http2IdleTimeoutMs = 20_000;

const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const preface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), emptySettings]);
/** HEADERS of stream 1, whose body is still to come: GET / of http://a. */
const openStream = Buffer.from([0, 0, 6, 1, 4, 0, 0, 0, 1, 0x83, 0x84, 0x86, 0x01, 1, 97]);
/** A frame that claims 4 MiB: nghttp2 gives the connection up, and node:http2 stops reading. */
const hugeFrame = Buffer.from([0x40, 0, 0, 0, 0, 0, 0, 0, 1]);

describe('idle HTTP/2 connections', () => {
  let mesh: TestMesh;
  let runtime: ManualRuntime;
  let streams: ServerHttp2Stream[];
  beforeEach(async () => {
    mesh = await TestMesh.start();
    runtime = createManualRuntime();
    streams = [];
  });
  afterEach(() => mesh.close());

  /** A seat as grpc-js is one: the HTTP/2 server behind it is its own. */
  function makeSeat(): GrpcSeat {
    const server = createHttp2Server();
    server.on('stream', (stream) => {
      streams.push(stream);
      stream.on('error', () => {});
      stream.respond({ ':status': 200 });
      stream.on('end', () => stream.end('done')).resume();
    });
    return { accept: (socket) => void server.emit('connection', socket), drain: () => {} };
  }

  async function serve(hasSeat: boolean): Promise<TestService> {
    const seat = makeSeat();
    return await mesh.serve(
      (request: { resume(): { on(event: 'end', done: () => void): void } }, response: { end(): void }) =>
        request.resume().on('end', () => response.end()),
      {
        mode: 'permissive',
        runtime,
        http2: true,
        limits: { headersTimeoutMs, http2IdleTimeoutMs },
        ...(hasSeat ? { grpc: () => seat } : {}),
      },
    );
  }

  const open = (port: number): Socket => {
    const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {}).resume();
    mesh.cleanup(() => void socket.destroy());
    return socket;
  };
  const connections = ({ listener }: TestService): Promise<number> =>
    new Promise((resolve, reject) =>
      listener.server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
    );
  async function untilConnections(service: TestService, count: number): Promise<void> {
    while ((await connections(service)) !== count) await new Promise(setImmediate);
  }
  const closed = (socket: Socket): Promise<unknown> =>
    socket.closed ? Promise.resolve() : once(socket, 'close');

  it.each([
    ['of our own', false],
    ['behind a gRPC server', true],
  ])('300 connections of garbage leave no socket, %s', async (_whose, hasSeat) => {
    const service = await serve(hasSeat);
    const sockets = await Promise.all(
      Array.from({ length: 300 }, async () => {
        const socket = open(service.port);
        socket.write(Buffer.concat([preface, hugeFrame, randomBytes(300)]));
        await once(socket, 'data');
        return socket;
      }),
    );
    for (const socket of sockets) socket.destroy();
    await Promise.all(sockets.map(closed));
    await runtime.advance(headersTimeoutMs * 4);
    await untilConnections(service, 0);
    expect(runtime.armed).toBe(0);
  });

  it.each([
    ['of our own', false],
    ['behind a gRPC server', true],
  ])('cuts one that never opens a stream, %s: GOAWAY, then the end', async (_whose, hasSeat) => {
    const service = await serve(hasSeat);
    const secure: TLSSocket = await mesh.raw(service.port, 'web', ['h2']);
    const secureGot: Buffer[] = [];
    secure.on('data', (chunk: Buffer) => secureGot.push(chunk));
    const plain = open(service.port);
    plain.write(preface);
    await Promise.all([once(plain, 'data'), secureGot.length > 0 ? undefined : once(secure, 'data')]);
    await untilConnections(service, 2);
    await runtime.advance(headersTimeoutMs - 100);
    expect(await connections(service)).toBe(2);
    await runtime.advance(200);
    await closed(secure);
    // Frame type 7 is GOAWAY.
    expect(Buffer.concat(secureGot).includes(Buffer.from([0, 0, 8, 7]))).toBe(true);
    // The other does not close its half.
    await untilConnections(service, 1);
    await runtime.advance(2000);
    await untilConnections(service, 0);
  });

  it('ends with a client that only closes its half, and ends its streams', async () => {
    const service = await serve(true);
    const socket = open(service.port);
    socket.write(Buffer.concat([preface, openStream]));
    await untilStreams(1);
    socket.end();
    await closed(socket);
    await untilConnections(service, 0);
    expect(streams[0]?.destroyed).toBe(true);
    expect(streams[0]?.rstCode).toBe(8);
  });

  it('ends a stream whose connection nghttp2 gave up: nobody else would notice', async () => {
    const service = await serve(true);
    const socket = open(service.port);
    socket.write(Buffer.concat([preface, openStream]));
    await untilStreams(1);
    socket.write(hugeFrame);
    while (socket.bytesRead < 60) await once(socket, 'data');
    await runtime.advance(headersTimeoutMs * 4);
    await untilConnections(service, 0);
    expect(streams[0]?.destroyed).toBe(true);
  });

  it.each([
    ['of our own', false],
    ['behind a gRPC server', true],
  ])('leaves a long stream alone, and an idle connection until its bound, %s', async (_whose, hasSeat) => {
    const service = await serve(hasSeat);
    const session = connectHttp2(`http://127.0.0.1:${service.port}`);
    mesh.cleanup(() => session.destroy());
    const request = session.request({ ':method': 'POST', ':path': '/' });
    await (hasSeat ? once(request, 'response') : untilLive(service, 1));
    // PING and its answer need real time between two looks.
    const pass = async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++) {
        await runtime.advance(headersTimeoutMs);
        await new Promise((resolve) => session.ping(resolve));
      }
    };
    await pass(50);
    expect(session.closed).toBe(false);
    request.end();
    request.resume();
    await once(request, 'close');
    await pass(http2IdleTimeoutMs / headersTimeoutMs - 2);
    expect(session.closed).toBe(false);
    const again = session.request({ ':path': '/' });
    again.resume();
    await once(again, 'close');
    const gone = once(session, 'goaway');
    await pass(http2IdleTimeoutMs / headersTimeoutMs - 2);
    await runtime.advance(2 * headersTimeoutMs);
    await gone;
    await runtime.advance(2 * headersTimeoutMs);
    await untilConnections(service, 0);
  });

  async function untilStreams(count: number): Promise<void> {
    while (streams.length < count) await new Promise(setImmediate);
  }
  async function untilLive({ live }: TestService, count: number): Promise<void> {
    while (live.size < count) await new Promise(setImmediate);
  }
});
