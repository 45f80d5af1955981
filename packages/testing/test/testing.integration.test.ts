import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFaultPeer, createTestNetwork, type Fault, type TestNetwork } from '../src/index.js';

describe('test network', () => {
  let network: TestNetwork;
  beforeEach(async () => {
    network = await createTestNetwork();
  });
  afterEach(() => network.close());

  it('runs several meshes with different identities in one process', async () => {
    await network.join('orders', {
      allow: 'web',
      app:
        (mesh: { peer(request: unknown): { id: { uri: string } } | undefined }) =>
        (request: IncomingMessage, response: ServerResponse) =>
          response.end(mesh.peer(request)?.id.uri),
    });
    const web = await network.join('web');
    const thief = await network.join('thief');
    expect(await (await web.mesh.fetch('http://orders/')).text()).toBe(
      'spiffe://test.local/ns/default/sa/web',
    );
    expect((await thief.mesh.fetch('http://orders/')).status).toBe(403);
  });

  it.each([
    ['refuse', 'INMESH_ERR_CONNECT_FAILED'],
    ['reset', expect.stringMatching(/PEER_REFUSED|CONNECT_FAILED/)],
    ['stall', 'INMESH_ERR_CONNECT_TIMEOUT'],
    ['garbage', 'INMESH_ERR_PEER_REFUSED'],
    ['wrong-identity', 'INMESH_ERR_PEER_IDENTITY'],
  ])('shows what a client makes of a peer that does %s', async (fault, code) => {
    const peer = await createFaultPeer(fault as Fault, { ca: network.ca });
    const { mesh } = await network.join('web', {
      upstreams: { orders: `127.0.0.1:${peer.port}` },
      connectTimeout: 300,
    });
    const error = await mesh.fetch('http://orders/').catch((reason: unknown) => reason as { cause: unknown });
    expect((error as { cause: unknown }).cause).toMatchObject({ code, reached: 'no' });
    await peer.close();
  });
});
