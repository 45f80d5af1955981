import express from 'express';
import { createMesh } from 'inmesh';

const mesh = await createMesh();
const app = express();
app.get('/', async (_request, response) => {
  const reply = await mesh.fetch('http://stock/tea');
  response.status(reply.status).send(`${await reply.text()}\n`);
});
await mesh.serve(app).listen(Number(process.env.PORT));
