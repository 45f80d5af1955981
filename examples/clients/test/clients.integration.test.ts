import type { IncomingMessage, ServerResponse } from 'node:http';
import { createTestNetwork, type TestNetwork } from '@inmesh/testing';
import type { Mesh } from 'inmesh';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as calls from '../src/calls.js';

/** Those that see calls, and can make one again; the others see connections. got repeats by itself. */
const seeCalls: ReadonlySet<string> = new Set(['withFetch', 'withUndici', 'withAxios']);

describe('clients of the mesh', () => {
  let network: TestNetwork;
  let mesh: Mesh;
  let asked: number;
  let failures: number;
  beforeEach(async () => {
    asked = 0;
    failures = 0;
    network = await createTestNetwork();
    await network.join('orders', {
      allow: 'web',
      app: (orders: Mesh) => (request: IncomingMessage, response: ServerResponse) => {
        response.statusCode = asked++ < failures ? 503 : 200;
        response.end(`${request.url} for ${orders.peer(request)?.id.uri}`);
      },
    });
    ({ mesh } = await network.join('web', { retryOn: 'connect-failure,reset,503' }));
  });
  afterEach(() => network.close());

  it.each(Object.entries(calls))('prove who they are: %s', async (_name, call) => {
    expect(await call(mesh)).toBe('/v1/items for spiffe://test.local/ns/default/sa/web');
  });

  it.each(Object.entries(calls).filter(([name]) => seeCalls.has(name)))(
    'send again what was answered with 503: %s',
    async (_name, call) => {
      failures = 1;
      expect(await call(mesh)).toContain('/v1/items for');
      expect([asked, mesh.stats().clusters[0]?.retries]).toEqual([2, 1]);
    },
  );

  it.each(Object.entries(calls).filter(([name]) => !seeCalls.has(name) && name !== 'withGot'))(
    'of connections leave a 503 to their caller: %s',
    async (_name, call) => {
      failures = 1;
      // axios throws what node:http hands over as a reply.
      await call(mesh).catch((error: Error) => expect(error.message).toContain('503'));
      expect(asked).toBe(1);
    },
  );
});
