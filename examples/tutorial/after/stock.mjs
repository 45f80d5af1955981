import express from 'express';
import { createMesh } from 'inmesh';

const mesh = await createMesh();
const app = express();
app.get('/tea', (request, response) => {
  if (process.env.BROKEN) response.status(503).end();
  else response.json({ left: 3, askedBy: mesh.peer(request)?.id.uri });
});
await mesh.serve(app).listen(Number(process.env.PORT));
