import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { text } from './foreign.js';
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
