// Our own client in a process of its own, configured by its environment: prints what came of one call as JSON.
import { Client } from '@grpc/grpc-js';
import { createMesh } from 'inmesh';

const mesh = await createMesh();
const describe = (error: unknown): string =>
  [error, (error as Error).cause].map((one) => (one instanceof Error ? one.message : '')).join(' ');

async function http(): Promise<object> {
  const reply = await mesh.fetch('http://backend/echo');
  return { http: reply.status, body: await reply.text() };
}

function grpc(): Promise<object> {
  const client = new Client('mesh:///backend', mesh.grpc.credentials(), mesh.grpc.channelOptions());
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      '/demo.v1.Echo/Unary',
      (text: string) => Buffer.from([10, text.length, ...Buffer.from(text)]),
      (bytes: Buffer) => bytes.subarray(2, 2 + Number(bytes[1])).toString(),
      'hello',
      (error, text) => {
        client.close();
        if (error) reject(error);
        else resolve({ grpc: text });
      },
    );
  });
}

try {
  process.stdout.write(JSON.stringify(await (process.argv[2] === 'grpc' ? grpc() : http())));
} catch (error) {
  process.stdout.write(JSON.stringify({ error: describe(error) }));
} finally {
  await mesh.close();
}
