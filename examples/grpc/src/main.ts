import { createMesh } from 'inmesh';
import { createPricesServer } from './prices-server.js';

const mesh = await createMesh();
const server = mesh.serve(); // gRPC alone; give it an application, and both share the port
server.addGrpc(createPricesServer(mesh));
await server.listen(Number(process.env['PORT'] ?? 8443));
