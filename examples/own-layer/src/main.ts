import express from 'express';
import { createMesh } from 'inmesh';
import { budget } from './budget.js';

const left = new Map<string, number>();
const layer = budget({
  take(name) {
    const rest = (left.get(name) ?? 3) - 1;
    left.set(name, rest);
    return Promise.resolve(rest >= 0);
  },
});

const mesh = await createMesh({ layers: { inbound: [layer], outbound: [layer] } });
const app = express().get('/', (_request, response) => {
  response.send('served\n');
});
await mesh.serve(app).listen(Number(process.env['PORT'] ?? 8443));
