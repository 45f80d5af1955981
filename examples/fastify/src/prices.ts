import fastify, { type FastifyInstance } from 'fastify';
import type { Mesh } from 'inmesh';

/** Prices: everybody may ask for one, and what it costs us is told to the office alone. */
export function createPrices(mesh: Mesh): FastifyInstance {
  const app = fastify({ forceCloseConnections: false });
  app.get<{ Params: { item: string } }>('/prices/:item', ({ params: { item } }) => ({ item, price: 42 }));
  app.get<{ Params: { item: string } }>('/costs/:item', ({ params: { item }, raw }) => ({
    item,
    cost: 12,
    for: mesh.peer(raw)?.id.uri,
  }));
  return app;
}
