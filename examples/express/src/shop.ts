import express, { type Express } from 'express';
import type { Mesh } from 'inmesh';

/** A shop: it knows its callers by their certificates, and calls `stock` as itself. */
export function createShop(mesh: Mesh): Express {
  const orders = express.Router();
  orders.get('/:id', async (request, response) => {
    const stock = await mesh.fetch(`http://stock/items/${request.params.id}`);
    response.json({
      id: request.params.id,
      askedBy: mesh.peer(request)?.id.uri,
      left: stock.ok ? ((await stock.json()) as { left: number }).left : undefined,
    });
  });
  return express().use('/orders', orders);
}
