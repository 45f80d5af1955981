import express from 'express';
import { createMesh } from 'inmesh';

const mesh = await createMesh(); // identity, policies and upstreams come from INMESH_* variables
const app = express();

app.get('/', (request, response) => {
  response.send(`hello ${mesh.peer(request)?.id.uri}\n`);
});

await mesh.serve(app).listen(8443); // SIGTERM drains it: calls under way end first
