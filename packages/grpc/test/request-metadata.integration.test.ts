import { once } from 'node:events';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import type { Layer } from '@inmesh/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, fault, idempotent, retried, route, TestMesh, type Unary } from './harness.js';

const numbered = (count: number): grpc.Metadata => {
  const metadata = new grpc.Metadata();
  for (let i = 0; i < count; i++) metadata.set(`x-${i}`, 'v');
  return metadata;
};
const withBytes = (bytes: number): grpc.Metadata => {
  const metadata = new grpc.Metadata();
  metadata.set('x-big-bin', Buffer.alloc(bytes));
  return metadata;
};
/** Pairs that are sent beside those of the caller: seven of every call, and two of the codings that are accepted. */
const others = 9;

describe('metadata of requests', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it('arrives at a server of ours, of 1,000 pairs and of 44 KB in binary', async () => {
    const counts: number[] = [];
    const Unary: Unary = (call, done) => {
      counts.push(Object.keys(call.metadata.getMap()).filter((name) => name.startsWith('x-')).length);
      done(null, 'ok');
    };
    const { client } = await mesh.client([(await mesh.serve({ Unary })).port]);
    expect(await client.unary('x', numbered(1000 - others))).toBe('ok');
    expect(await client.unary('x', withBytes(44_000))).toBe('ok');
    expect(counts).toEqual([1000 - others, 1]);
  });

  it.each([
    ['one pair more', numbered(1001 - others)],
    ['61 KB as base64', withBytes(46_000)],
  ])('that is more fails its own call, which blames no endpoint: %s', async (_what, metadata) => {
    let calls = 0;
    const Unary: Unary = (_call, done) => done(null, String(++calls));
    const ports = [(await mesh.serve({ Unary })).port, (await mesh.serve({ Unary })).port];
    const ends: unknown[] = [];
    const layer: Layer = {
      role: 'ends',
      scope: 'call',
      why: 'sees what comes of it',
      bind: () => ({
        end: (_call, { attempts, endpoint, error }) => void ends.push([attempts, endpoint, error?.code]),
      }),
    };
    const { client, cluster } = await mesh.client(ports, {
      layers: [layer],
      rules: retried({ maxAttempts: 3 }),
      channel: idempotent,
    });
    await client.unary('x');
    const tokens = cluster().budget.tokens;
    for (let i = 0; i < 6; i++) {
      const error = await fault(client.unary('x', metadata));
      expect([error.code, codeOf(error)]).toEqual([8, 'INMESH_ERR_OVERFLOW']);
    }
    expect(ends.slice(1)).toEqual(Array.from({ length: 6 }, () => [0, undefined, 'INMESH_ERR_OVERFLOW']));
    expect(await client.unary('x')).toBe('2');
    expect(cluster()).toMatchObject({ ejected: 0, activeCalls: 0, activeRetries: 0, pending: 0 });
    expect(cluster().budget.tokens).toBeGreaterThanOrEqual(tokens);
    expect(cluster().endpoints.map(({ active }) => active)).toEqual([0, 0]);
  });

  it('that a route makes too large fails its call as well', async () => {
    const { port } = await mesh.serve();
    const { client, cluster } = await mesh.client([port], {
      routes: [route({ name: 'big', to: 'echo', request: { set: { 'x-big': 'a'.repeat(62_000) } } })],
    });
    expect(codeOf(await fault(client.unary('x')))).toBe('INMESH_ERR_OVERFLOW');
    expect(cluster().activeCalls).toBe(0);
  });

  it('that a foreign server of Node resets is sent once, and blames no endpoint', async () => {
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/echo');
    let streams = 0;
    const ports: number[] = [];
    for (let i = 0; i < 2; i++) {
      const server = createSecureServer({
        cert: certPem,
        key: keyPem,
        ca: mesh.ca.bundlePem,
        requestCert: true,
      });
      server.on('session', (session) => {
        session.on('error', () => {});
        mesh.cleanup(() => session.destroy());
      });
      server.on('stream', (stream) => {
        streams++;
        stream.on('error', () => {});
        stream.respond(
          { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': 5 },
          { endStream: true },
        );
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      mesh.cleanup(() => void server.close());
      ports.push((server.address() as AddressInfo).port);
    }
    const attempts: unknown[] = [];
    const layer: Layer = {
      role: 'ends',
      scope: 'call',
      why: 'sees what comes of it',
      bind: () => ({ end: (_call, end) => void attempts.push(end.attempts) }),
    };
    const { client, cluster } = await mesh.client(ports, {
      layers: [layer],
      rules: retried({ maxAttempts: 3, conditions: ['reset', 'resource-exhausted'] }),
      channel: idempotent,
    });
    const { tokens } = cluster().budget;
    for (let i = 0; i < 6; i++) expect((await fault(client.unary('x', numbered(200)))).code).toBe(8);
    expect([attempts, streams]).toEqual([[1, 1, 1, 1, 1, 1], 0]);
    expect(cluster()).toMatchObject({ ejected: 0, activeCalls: 0, activeRetries: 0 });
    expect(cluster().budget.tokens).toBe(tokens);
    expect((await fault(client.unary('x'))).code).toBe(5);
  });
});
