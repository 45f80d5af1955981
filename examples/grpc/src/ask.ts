import { createMesh } from 'inmesh';
import { createPricesClient, getPrice } from './prices-client.js';

const mesh = await createMesh();
const client = createPricesClient(mesh);
const { name, cents } = await getPrice(client, { name: process.argv[2] ?? 'tea' });
process.stdout.write(`${name} costs ${cents / 100}\n`);
client.close();
await mesh.close();
