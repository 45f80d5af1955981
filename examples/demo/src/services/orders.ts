import { sendJson } from '../routes.js';
import { runService } from '../run-service.js';

await runService({
  framework: 'fastify',
  routes: (mesh) => [
    {
      method: 'GET',
      path: '/order',
      async handle(request, response) {
        const item: unknown = await (await mesh.fetch('http://catalog/item')).json();
        sendJson(response, { pid: process.pid, calledBy: mesh.peer(request)?.id.uri, item });
      },
    },
  ],
});
