import express, { type Request, type Response, Router } from 'express';
import fastify from 'fastify';
import { describe, expect, it } from 'vitest';
import { useMeshes } from './meshes.js';

describe('the operation of a call', () => {
  const { make } = useMeshes();
  /** Operations of calls to these paths, in their order. */
  const operationsOf = async (app: unknown, paths: readonly string[]): Promise<readonly unknown[]> => {
    const orders = await make('orders');
    const server = orders.serve(app);
    const { port } = await server.listen(0, '127.0.0.1');
    const web = await make('web', { upstreams: { orders: `127.0.0.1:${port}` } });
    const seen: unknown[] = [];
    orders.on('decision', ({ operation }) => seen.push(operation));
    for (const [i, path] of paths.entries()) {
      await (await web.fetch(`http://orders${path}`)).text();
      while (seen.length <= i) await new Promise(setImmediate);
    }
    return seen;
  };

  it('is the route of Express, with where its router is mounted', async () => {
    const shop = Router().get(
      '/orders/:id',
      (_request: Request, response: Response) => void response.send('x'),
    );
    const app = express()
      .use('/shop', shop)
      .get('/health', (_request: Request, response: Response) => void response.send('x'));
    expect(await operationsOf(app, ['/shop/orders/7', '/shop/orders/8?x=1', '/health', '/nowhere'])).toEqual([
      '/shop/orders/:id',
      '/shop/orders/:id',
      '/health',
      undefined,
    ]);
  });

  it('is one for every spelling of a mount', async () => {
    const app = express().use(
      '/api',
      Router().get('/x', (_request: Request, response: Response) => void response.send('x')),
    );
    expect(new Set(await operationsOf(app, ['/api/x', '/API/x', '/aPi/x', '/%61pi/x']))).toEqual(
      new Set(['/api/x']),
    );
  });

  it('does not grow with the parameters of a mount', async () => {
    const app = express().use(
      '/users/:user',
      Router().get('/orders', (_request: Request, response: Response) => void response.send('x')),
    );
    const paths = Array.from({ length: 250 }, (_, i) => `/users/${i}/orders`);
    expect(new Set(await operationsOf(app, paths)).size).toBeLessThanOrEqual(101);
  });

  it('is the route of Fastify, also where it is declared before and after the mesh', async () => {
    const app = fastify({ forceCloseConnections: false });
    app.get('/orders/:id', () => 'x');
    expect(await operationsOf(app, ['/orders/7', '/orders/8', '/nowhere'])).toEqual([
      '/orders/:id',
      '/orders/:id',
      undefined,
    ]);
  });

  it('is not known of a function', async () => {
    const app = (_request: unknown, response: { end(text: string): void }): void => response.end('x');
    expect(await operationsOf(app, ['/a'])).toEqual([undefined]);
  });
});
