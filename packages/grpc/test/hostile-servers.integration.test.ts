import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import { createManualRuntime } from '@inmesh/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ClientOptions, codeOf, fault, idempotent, retried, TestMesh } from './harness.js';
import {
  block,
  endHeaders,
  endStream,
  FrameReader,
  frame,
  frameType,
  headers,
  message,
  replyHead,
  uint32,
} from './http2-frames.js';

const { data, goaway, ping, pushPromise, settings, windowUpdate } = frameType;
const acknowledgement = frame(settings, 1, 0);
const hello = Buffer.concat([frame(settings, 0, 0), acknowledgement]);
const many = 5000;

const goawayOf = (lastStream: number, code: number): Buffer =>
  frame(goaway, 0, 0, Buffer.concat([uint32(lastStream), uint32(code)]));
/** A reply of messages and a status. */
const reply = (stream: number, messages: readonly Buffer[], trailers: Record<string, string>): Buffer =>
  Buffer.concat([
    headers(stream, replyHead),
    ...messages.map((one) => frame(data, 0, stream, one)),
    headers(stream, trailers, endStream),
  ]);
const fine = { 'grpc-status': '0' };
const ok = (stream: number): Buffer => reply(stream, [message('ok')], fine);
const repeated = (bytes: Buffer): Buffer => Buffer.concat(Array.from({ length: many }, () => bytes));
/** A prefix that announces 4 GiB, and a byte of them. */
const hugeMessage = Buffer.from([0, 255, 255, 255, 255, 65]);

type Answer = (socket: TLSSocket, stream: number, call: number) => void;

describe('hostile gRPC servers', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  /** A server that says `first` on each connection, and answers calls as it likes. */
  async function hostile(answer: Answer, first: Buffer = hello) {
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/echo');
    const seen = { connections: 0, calls: 0 };
    const server = createServer(
      { cert: certPem, key: keyPem, ca: mesh.ca.bundlePem, requestCert: true, ALPNProtocols: ['h2'] },
      (socket) => {
        seen.connections++;
        const reader = new FrameReader(24);
        socket.on('error', () => {});
        mesh.cleanup(() => void socket.destroy());
        socket.on('data', (chunk: Buffer) => {
          for (const one of reader.push(chunk))
            if (one.type === frameType.headers) answer(socket, one.stream, ++seen.calls);
        });
        socket.write(first);
      },
    ).listen(0, '127.0.0.1');
    await once(server, 'listening');
    mesh.cleanup(() => void server.close());
    return { port: (server.address() as AddressInfo).port, seen };
  }
  const client = (port: number, options: ClientOptions = {}) =>
    mesh.client([port], { rules: retried(), channel: idempotent, ...options });

  it.each<[string, Answer, number, string | undefined]>([
    ['a message of 4 GiB', (to, id) => to.write(reply(id, [hugeMessage], fine)), 8, undefined],
    ['two replies', (to, id) => to.write(reply(id, [message('a'), message('b')], fine)), 12, 'BAD_REPLY'],
    [
      'two replies and no end',
      (to, id) =>
        to.write(
          Buffer.concat([
            headers(id, replyHead),
            frame(data, 0, id, Buffer.concat([message('a'), message('b')])),
          ]),
        ),
      12,
      'BAD_REPLY',
    ],
    ['no reply', (to, id) => to.write(reply(id, [], fine)), 12, undefined],
    [
      'trailers without a status',
      (to, id) => to.write(reply(id, [message('a')], { 'x-a': 'b' })),
      2,
      undefined,
    ],
    [
      'a status that is no number',
      (to, id) => to.write(reply(id, [message('a')], { 'grpc-status': 'no' })),
      2,
      'BAD_REPLY',
    ],
    [
      'no trailers',
      (to, id) => to.write(Buffer.concat([headers(id, replyHead), frame(data, endStream, id, message('a'))])),
      13,
      'CONNECTION_LOST',
    ],
    [
      'a message that is compressed in no known way',
      (to, id) => to.write(reply(id, [Buffer.from([1, 0, 0, 0, 1, 65])], fine)),
      13,
      'BAD_REPLY',
    ],
  ])('end a call with a clear error, once: %s', async (_what, answer, code, own) => {
    const { port, seen } = await hostile(answer);
    const { client: stub, cluster } = await client(port);
    const error = await fault(stub.unary('x'));
    expect([error.code, codeOf(error)]).toEqual([code, own === undefined ? undefined : `INMESH_ERR_${own}`]);
    expect([seen.calls, cluster().activeCalls, cluster().endpoints[0]?.active]).toEqual([1, 0, 0]);
  });

  it('keep nothing of a message of 4 GiB that is announced in a stream', async () => {
    const { port } = await hostile((to, id) =>
      to.write(Buffer.concat([headers(id, replyHead), frame(data, 0, id, hugeMessage)])),
    );
    const { client: stub } = await client(port);
    const before = process.memoryUsage().arrayBuffers;
    const [error] = (await once(stub.stream('x').resume(), 'error')) as [grpc.ServiceError];
    expect(error).toMatchObject({ code: 8 });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16_000_000);
  });

  it.each<[string, Answer]>([
    ['PING', (to) => to.write(repeated(frame(ping, 0, 0, Buffer.alloc(8))))],
    ['SETTINGS', (to) => to.write(repeated(frame(settings, 0, 0)))],
    [
      'an overflow of the window of a stream',
      (to, id) => to.write(frame(windowUpdate, 0, id, uint32(0x7f_ff_ff_ff))),
    ],
    [
      'an overflow of the window of a connection',
      (to) => to.write(frame(windowUpdate, 0, 0, uint32(0x7f_ff_ff_ff))),
    ],
    ['a GOAWAY that asks for calm', (to) => to.write(goawayOf(0x7f_ff_ff_ff, 11))],
    ['a GOAWAY before the call', (to) => to.write(goawayOf(0, 0))],
  ])('lose the connection and are called again over another: %s', async (_what, answer) => {
    const { port, seen } = await hostile((to, id, call) => {
      if (call === 1) answer(to, id, call);
      else to.write(ok(id));
    });
    const { client: stub, cluster } = await client(port);
    expect(await stub.unary('x')).toBe('ok');
    expect(seen.connections).toBe(2);
    expect(cluster()).toMatchObject({ activeCalls: 0, pending: 0, activeRetries: 0 });
  });

  it.each<[string, Answer]>([
    ['DATA on a stream that has ended', (to, id) => to.write(frame(data, 0, id, message('late')))],
    ['HEADERS on a stream that has ended', (to, id) => to.write(headers(id, fine, endStream))],
  ])('do no harm to the next call: %s', async (_what, answer) => {
    const { port } = await hostile((to, id, call) => {
      to.write(ok(id));
      answer(to, id, call);
    });
    const { client: stub } = await client(port);
    for (let i = 0; i < 3; i++) expect(await stub.unary('x')).toBe('ok');
  });

  it('that send GOAWAY on each connection are asked again ever later, and calls end or go elsewhere', async () => {
    const { port, seen } = await hostile(() => {}, Buffer.concat([hello, goawayOf(0, 0)]));
    const runtime = createManualRuntime();
    const { client: stub } = await client(port, { runtime });
    // Connections count as ended when the next wait has begun.
    const untilWait = async (connections: number): Promise<void> => {
      while (seen.connections < connections) await new Promise(setImmediate);
      while (codeOf(await fault(stub.unary('x'))) !== 'INMESH_ERR_CONNECTION_LOST');
      expect(seen.connections).toBe(connections);
    };
    void fault(stub.unary('x'));
    await untilWait(2);
    await runtime.advance(70);
    expect(seen.connections).toBe(2);
    await runtime.advance(60);
    await untilWait(3);
    await runtime.advance(150);
    expect(seen.connections).toBe(3);
    await runtime.advance(100);
    await untilWait(4);
    const { port: good } = await mesh.serve();
    const both = await mesh.client([port, good], { rules: retried(), channel: idempotent });
    for (let i = 0; i < 5; i++) expect(await both.client.unary('x')).toBe('echo x');
  });

  it('that send GOAWAY with each status alone are asked anew at once, and refused no call', async () => {
    const { port, seen } = await hostile((to, id) =>
      to.write(
        Buffer.concat([headers(id, { ...replyHead, 'grpc-status': '5' }, endStream), goawayOf(id, 0)]),
      ),
    );
    const { client: stub } = await client(port, { runtime: createManualRuntime() });
    for (let i = 0; i < 8; i++) expect((await fault(stub.unary('x'))).code).toBe(5);
    expect([seen.calls, seen.connections]).toEqual([8, expect.toSatisfy((count: number) => count >= 8)]);
  });

  it('that send GOAWAY and answer later are asked anew, and refused no call', async () => {
    const waiting: (() => void)[] = [];
    const { port, seen } = await hostile((to, id) => {
      to.write(goawayOf(id, 0));
      waiting.push(() => void to.write(ok(id)));
    });
    const runtime = createManualRuntime();
    const { client: stub } = await client(port, { runtime });
    const calls: Promise<string>[] = [];
    for (let i = 1; i <= 6; i++) {
      calls.push(stub.unary('x'));
      // A tenth of a second at most between two connections.
      while (seen.calls < i) await runtime.advance(seen.connections < i ? 10 : 0);
    }
    for (const answer of waiting) answer();
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 6 }, () => 'ok'));
    expect(seen.calls).toBe(6);
  });

  it('that send GOAWAY and then lose what they were sent are asked ever later', async () => {
    const { port, seen } = await hostile((to, id) => {
      to.write(goawayOf(id, 0));
      to.destroySoon();
    });
    const { client: stub } = await mesh.client([port], { runtime: createManualRuntime() });
    for (let i = 0; i < 5; i++)
      expect(codeOf(await fault(stub.unary('x')))).toBe('INMESH_ERR_CONNECTION_LOST');
    expect([seen.calls, seen.connections]).toEqual([2, 2]);
  });

  it('that stop reading a connection lose it to a new one', async () => {
    const { port, seen } = await hostile((to, id, call) => {
      // Beyond 64 KiB of headers nghttp2 gives the connection up, and node:http2 tells nobody.
      if (call === 1) to.write(headers(id, { ...replyHead, 'x-big': 'a'.repeat(100_000) }));
      else to.write(ok(id));
    });
    const { client: stub, cluster } = await client(port, { rules: { headTimeoutMs: 150 } });
    // Two calls find out; the third may come before the new connection.
    const results: string[] = [];
    while (!results.includes('ok'))
      results.push(await stub.unary('x').catch((error: grpc.ServiceError) => String(codeOf(error))));
    // Later lines of Node end such a connection themselves: then the call is sent again over a new one.
    const expected = process.versions.node.startsWith('20.') ? ['INMESH_ERR_HEAD_TIMEOUT'] : [];
    expect([...new Set(results.slice(0, -1))]).toEqual(expected);
    expect([seen.connections, results.length]).toEqual([2, expect.toSatisfy((count: number) => count <= 5)]);
    expect(await stub.unary('x')).toBe('ok');
    expect(cluster()).toMatchObject({ activeCalls: 0, connections: 1 });
  });

  it('that push or flood with CONTINUATION end their calls and nothing else', async () => {
    const attacks: Answer[] = [
      (to, id) =>
        to.write(
          frame(
            pushPromise,
            endHeaders,
            id,
            Buffer.concat([uint32(2), block({ ':method': 'GET', ':path': '/' })]),
          ),
        ),
      (to, id) => {
        to.write(frame(frameType.headers, 0, id, block(replyHead)));
        to.write(repeated(frame(frameType.continuation, 0, id, block({ 'x-a': 'a'.repeat(100) }))));
      },
    ];
    for (const answer of attacks) {
      const { port } = await hostile(answer);
      const { client: stub, cluster } = await client(port, { rules: { headTimeoutMs: 300 } });
      expect([4, 13, 14]).toContain((await fault(stub.unary('x'))).code);
      expect(cluster()).toMatchObject({ activeCalls: 0, pending: 0 });
    }
  });

  it('may leave our SETTINGS without an answer', async () => {
    const { port } = await hostile((to, id) => to.write(ok(id)), frame(settings, 0, 0));
    expect(await (await client(port)).client.unary('x')).toBe('ok');
  });

  it('that never send SETTINGS are given up and asked anew', async () => {
    const runtime = createManualRuntime();
    const { port, seen } = await hostile(() => {}, Buffer.alloc(0));
    const { client: stub, unreachable } = await client(port, { runtime });
    const call = fault(stub.unary('x', new grpc.Metadata({ waitForReady: true })));
    // The bound is armed when the handshake is over, beside that on the wait and the end of the certificate.
    while (runtime.armed < 3) await new Promise(setImmediate);
    await runtime.advance(20_000);
    while (seen.connections === 1) await new Promise(setImmediate);
    expect(unreachable).toEqual(['echo']);
    expect(codeOf(await fault(stub.unary('x')))).toBe('INMESH_ERR_CONNECT_FAILED');
    stub.close();
    await call;
  });
});
