import { createServer } from 'node:http';
import { createMesh } from 'inmesh';
import { traffic } from './traffic.js';

const mesh = await createMesh(traffic);
const shop = createServer((_request, response) => {
  mesh
    .fetch('http://reviews/v1/reviews/42')
    .then(async (reply) => response.writeHead(reply.status).end(await reply.text()))
    .catch((error: Error) => response.writeHead(502).end(error.message));
});

await mesh.serve(shop).listen(8443);
