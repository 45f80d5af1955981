import type { IncomingMessage, ServerResponse } from 'node:http';
import { createTestCa } from '@inmesh/identity/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestMesh } from './harness.js';

describe('pools', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it('keep their connections when a certificate is renewed, and leave them when a root is removed', async () => {
    const { port } = await mesh.serve((request: IncomingMessage, response: ServerResponse) =>
      response.end(String(request.socket.remotePort)),
    );
    const extra = await createTestCa('a.test');
    const source = await mesh.identity('web');
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/web');
    const trust = (...bundles: readonly string[]): void =>
      source.update({ certPem, keyPem, bundles: new Map([['a.test', bundles.join('')]]) });
    const client = await mesh.client({ orders: [port] }, { source });
    const connection = async (): Promise<string> => (await client.fetch('http://orders/')).text();
    trust(mesh.ca.bundlePem, extra.bundlePem);
    const before = await connection();
    trust(mesh.ca.bundlePem, extra.bundlePem);
    const renewed = await connection();
    trust(mesh.ca.bundlePem);
    const removed = await connection();
    expect([renewed === before, removed === before]).toEqual([true, false]);
  });

  it('leave the connections of another identity', async () => {
    const { port } = await mesh.serve((request: IncomingMessage, response: ServerResponse) =>
      response.end(String(request.socket.remotePort)),
    );
    const source = await mesh.identity('web');
    const client = await mesh.client({ orders: [port] }, { source });
    const connection = async (): Promise<string> => (await client.fetch('http://orders/')).text();
    const before = await connection();
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/other');
    source.update({ certPem, keyPem, bundles: new Map([['a.test', mesh.ca.bundlePem]]) });
    expect(await connection()).not.toBe(before);
  });
});
