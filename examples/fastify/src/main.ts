import { createMesh } from 'inmesh';
import { createPrices } from './prices.js';

const mesh = await createMesh();
const { port } = await mesh.serve(createPrices(mesh)).listen(Number(process.env['PORT'] ?? 8080));
process.stdout.write(`prices at ${port}\n`);
