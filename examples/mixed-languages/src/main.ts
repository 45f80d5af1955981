import { createServer } from 'node:http';
import { createMesh } from 'inmesh';

const mesh = await createMesh();

/** `/` greets whoever calls; `/stock` asks the service `stock`, which is a Python program. */
const shop = createServer((request, response) => {
  if (request.url !== '/stock') {
    response.end(`hello ${mesh.peer(request)?.id.uri}\n`);
    return;
  }
  mesh
    .fetch('http://stock/tea')
    .then(async (reply) => response.writeHead(reply.status).end(await reply.text()))
    .catch((error: Error) => response.writeHead(502).end(`${String(error.cause)}\n`));
});

await mesh.serve(shop).listen(Number(process.env['PORT'] ?? 8443));
