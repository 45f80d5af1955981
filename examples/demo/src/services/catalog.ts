import { sendJson } from '../routes.js';
import { runService } from '../run-service.js';

await runService({
  framework: 'http',
  routes: (mesh) => [
    {
      method: 'GET',
      path: '/item',
      handle: (request, response) =>
        sendJson(response, { name: 'teapot', calledBy: mesh.peer(request)?.id.uri }),
    },
  ],
});
