import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { createManualRuntime } from '@inmesh/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestMesh, type Unary } from './harness.js';

describe.each([
  ['priority', { priority: 0 }, { priority: 1 }],
  ['weight', { weight: 1 }, { weight: 0 }],
])('of two endpoints of different %s, a channel', (_what, first, second) => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());
  const named = (name: string): { Unary: Unary } => ({ Unary: (_call, done) => done(null, name) });

  it('calls the first, and waits for its connection', async () => {
    const [near, far] = [await mesh.serve(named('near')), await mesh.serve(named('far'))];
    // The connection to the near one is made when the far one has had time for its own.
    let connectNear: () => void = () => {};
    const gate = createServer((socket) => {
      connectNear = () => socket.pipe(connect(near.port, '127.0.0.1')).pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(gate, 'listening');
    mesh.cleanup(() => void gate.close());
    const { client, endpoints, cluster } = await mesh.client([far.port]);
    await client.unary('x');
    const { port } = gate.address() as AddressInfo;
    endpoints().set([
      { host: '127.0.0.1', port, ...first },
      { host: '127.0.0.1', port: far.port, ...second },
    ]);
    await once(gate, 'connection');
    const reply = client.unary('x');
    while (cluster().pending === 0) await new Promise(setImmediate);
    connectNear();
    expect(await reply).toBe('near');
  });

  it('calls the second as long as the first cannot be reached', async () => {
    const far = await mesh.serve(named('far'));
    const gate = createServer().listen(0, '127.0.0.1');
    await once(gate, 'listening');
    const { port } = gate.address() as AddressInfo;
    gate.close();
    await once(gate, 'close');
    const { client, endpoints, cluster, unreachable } = await mesh.client([far.port]);
    await client.unary('x');
    endpoints().set([
      { host: '127.0.0.1', port, ...first },
      { host: '127.0.0.1', port: far.port, ...second },
    ]);
    while (unreachable.length === 0) await new Promise(setImmediate);
    for (let i = 0; i < 5; i++) expect(await client.unary('x')).toBe('far');
    expect(cluster().ejected).toBe(0);
  });

  it('calls the second when the first has not been connected for as long as that may take', async () => {
    const runtime = createManualRuntime();
    const far = await mesh.serve(named('far'));
    const silent = await mesh.silentPort();
    const { client, endpoints, cluster, unreachable } = await mesh.client([far.port], { runtime });
    await client.unary('x');
    endpoints().set([
      { host: '127.0.0.1', port: silent, ...first },
      { host: '127.0.0.1', port: far.port, ...second },
    ]);
    const reply = client.unary('x');
    while (cluster().pending === 0) await new Promise(setImmediate);
    await runtime.advance(9999);
    expect([cluster().pending, unreachable]).toEqual([1, []]);
    await runtime.advance(1);
    // Not by the end of the handshake, which nobody waits for: TCP alone may take minutes.
    expect(unreachable).toEqual(['echo']);
    expect(await reply).toBe('far');
    expect(await client.unary('x')).toBe('far');
  });
});
