import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { calls, text } from './foreign.js';
import { TestMesh } from './harness.js';

const made: object[] = [];
vi.mock('undici', async (load) => {
  const undici = await load<typeof import('undici')>();
  return {
    ...undici,
    Client: class extends undici.Client {
      constructor(...[url, options = {}]: ConstructorParameters<typeof undici.Client>) {
        super(url, options);
        made.push(options);
      }
    },
  };
});

let mesh: TestMesh;
beforeEach(async () => {
  mesh = await TestMesh.start();
});
afterEach(() => mesh.close());

it('has nothing but the driver bound the wait for a head, and nothing at all a stream that is silent', async () => {
  const { port } = await mesh.serve(text('ok'));
  const client = await mesh.client({ orders: [port] });
  expect(await (await client.fetch('http://orders/')).text()).toBe('ok');
  // undici's own defaults are five minutes: too long to wait for here.
  expect(made).toEqual([expect.objectContaining({ headersTimeout: 0, bodyTimeout: 0 })]);
});

it('does not wait, when it closes, for connections that nobody wants anymore', async () => {
  const silent = createServer((socket) => mesh.cleanup(() => void socket.destroy())).listen(0, '127.0.0.1');
  mesh.cleanup(() => void silent.close());
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const hourMs = 3_600_000;
  const client = await mesh.client(
    { orders: [port] },
    {
      dialer: { connectTimeoutMs: hourMs, handshakeTimeoutMs: hourMs },
      calls: calls({ headTimeoutMs: 50 }),
    },
  );
  await expect(client.fetch('http://orders/')).rejects.toMatchObject({
    cause: { code: 'INMESH_ERR_HEAD_TIMEOUT' },
  });
  expect(client.state('orders').connections).toBe(1);
  const late = client.fetch('http://orders/');
  const closing = client.close();
  await expect(late).rejects.toMatchObject({ cause: { code: 'INMESH_ERR_HEAD_TIMEOUT' } });
  await closing;
  expect(client.state('orders').connections).toBe(0);
});
