import { promisify } from 'node:util';
import type { Mesh } from 'inmesh';
import { type Item, type Price, Prices, type PricesClient } from './prices-proto.js';

/** A client of the service `prices` of the mesh: its name instead of an address, our credentials instead of TLS. */
// #region client
export function createPricesClient(mesh: Mesh): PricesClient {
  return new Prices(
    'mesh:///prices',
    mesh.grpc.credentials(),
    mesh.grpc.channelOptions({ idempotent: [Prices.service] }),
  ) as unknown as PricesClient;
}
// #endregion

/** Asks once. */
export function getPrice(client: PricesClient, item: Item): Promise<Price> {
  return promisify(client.Get.bind(client))(item);
}
