import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Mesh } from 'inmesh';
import { describe, expect, it } from 'vitest';
import { testMesh } from '../src/index.js';

describe('testMesh', () => {
  it('starts services that know each other in whichever order they stand', async () => {
    const mesh = await testMesh({
      services: {
        web: {
          app: (own: Mesh) => (_request: IncomingMessage, response: ServerResponse) => {
            own
              .fetch('http://orders/')
              .then(async (reply) => response.end(`web, ${await reply.text()}`))
              .catch((error: unknown) => response.end(String(error)));
          },
        },
        orders: {
          allow: 'web',
          app: (_request: IncomingMessage, response: ServerResponse) => response.end('orders'),
        },
        admin: {},
      },
    });
    expect(await (await mesh.as('admin').fetch('http://web/')).text()).toBe('web, orders');
    expect((await mesh.as('admin').fetch('http://orders/')).status).toBe(403);
    expect(mesh.services['admin']?.port).toBe(0);
    expect(() => mesh.as('cart')).toThrow('there are web, orders, admin');
    await mesh.close();
  });

  it('leaves nothing open where a service cannot start', async () => {
    await expect(
      testMesh({ services: { web: { app: () => {} }, orders: { timeout: 'soon' as '1s' } } }),
    ).rejects.toMatchObject({ code: 'INMESH_ERR_CONFIG_INVALID' });
  });
});
