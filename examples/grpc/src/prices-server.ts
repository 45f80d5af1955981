import {
  Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import type { Mesh } from 'inmesh';
import { type Item, type Price, Prices } from './prices-proto.js';

/** The service, as it would be without a mesh; it asks the mesh only who calls. */
export function createPricesServer(mesh: Mesh): Server {
  const prices = new Map<string, Price>([['tea', { name: 'tea', cents: 250 }]]);
  const watchers = new Set<ServerWritableStream<Item, Price>>();
  const server = new Server();
  server.addService(Prices.service, {
    Get({ request: { name } }: ServerUnaryCall<Item, Price>, done: sendUnaryData<Price>) {
      const price = prices.get(name);
      if (price === undefined) done({ code: status.NOT_FOUND, details: `nobody sells ${name}` });
      else done(null, price);
    },
    Watch(call: ServerWritableStream<Item, Price>) {
      watchers.add(call);
      call.on('cancelled', () => watchers.delete(call));
      const price = prices.get(call.request.name);
      if (price !== undefined) call.write(price);
    },
    Set(call: ServerUnaryCall<Price, Price>, done: sendUnaryData<Price>) {
      const price = { ...call.request, setBy: mesh.peer(call)?.id.uri ?? '' };
      prices.set(price.name, price);
      for (const watcher of watchers) if (watcher.request.name === price.name) watcher.write(price);
      done(null, price);
    },
  });
  return server;
}
