import { createMesh } from 'inmesh';
import { createShop } from './shop.js';

const mesh = await createMesh();
const { port } = await mesh.serve(createShop(mesh)).listen(Number(process.env['PORT'] ?? 8080));
process.stdout.write(`shop at ${port}\n`);
