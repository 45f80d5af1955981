import { createServer } from 'node:http';
import { createMesh } from 'inmesh';

// Everything that differs between a laptop and a cluster is in the environment.
const mesh = await createMesh();

const orders = createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ order: request.url, askedBy: mesh.peer(request)?.id.uri }));
});

await mesh.serve(orders).listen(Number(process.env['PORT'] ?? 8443));
