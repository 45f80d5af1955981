import { Hops } from '../hops.js';
import { sendJson } from '../routes.js';
import { runService } from '../run-service.js';

const hops = new Hops();
// One replica is slow, one fails half of its calls; the environment says which.
const fault = process.env['DEMO_FAULT'] ?? '';
let calls = 0;

await runService({
  framework: 'fastify',
  hops,
  routes: (mesh) => [
    {
      method: 'GET',
      path: '/order',
      async handle(request, response) {
        if (fault === 'slow') await new Promise((resolve) => setTimeout(resolve, 150));
        if (fault === 'half' && ++calls % 2 === 0) {
          sendJson(response, { error: 'this replica fails half of its calls' }, 503);
          return;
        }
        const reply = await hops.time('catalog', () => mesh.fetch('http://catalog/item'));
        const item: unknown = await reply.json();
        sendJson(response, { pid: process.pid, calledBy: mesh.peer(request)?.id.uri, item });
      },
    },
  ],
});
