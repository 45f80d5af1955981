import { createMesh } from 'inmesh';
import * as calls from './calls.js';

const mesh = await createMesh();
for (const [name, call] of Object.entries(calls)) process.stdout.write(`${name}: ${await call(mesh)}\n`);
await mesh.close();
