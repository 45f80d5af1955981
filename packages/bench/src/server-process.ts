// The server of one variant: same handler, body, certificates and timeouts on both sides.
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { createMesh } from 'inmesh';
import { unary } from './grpc-method.js';
import { makePolicies } from './policies.js';
import type { Order, RoleConfig, Usage } from './protocol.js';

const config = JSON.parse(process.argv[2] ?? '{}') as RoleConfig;
const body = JSON.stringify({ id: 7, name: 'teapot', price: 9.95, tags: ['a', 'b', 'c'] });

function handle(_request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('content-type', 'application/json');
  response.end(body);
}

function grpcServer(): Server {
  const server = new Server();
  server.addService(
    { Get: unary },
    { Get: (call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) => done(null, call.request) },
  );
  return server;
}

async function bare(): Promise<number> {
  const cert = readFileSync(config.cert);
  const key = readFileSync(config.key);
  const ca = readFileSync(config.bundle);
  if (config.wire === 'grpc') {
    const server = grpcServer();
    return await new Promise((resolve, reject) => {
      server.bindAsync(
        '127.0.0.1:0',
        ServerCredentials.createSsl(ca, [{ cert_chain: cert, private_key: key }], true),
        (error, port) => (error ? reject(error) : resolve(port)),
      );
    });
  }
  const server = createServer(
    { cert, key, ca, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' },
    handle,
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function mesh(): Promise<number> {
  const made = await createMesh({
    env: {},
    serviceName: 'server',
    devCaDir: config.caDir,
    policies: makePolicies(config.policies),
    logLevel: 'error',
    drainDelay: 0,
  });
  const server = made.serve(handle);
  if (config.wire === 'grpc') server.addGrpc(grpcServer());
  return (await server.listen(0, '127.0.0.1')).port;
}

process.on('message', (order: Order) => {
  if (order.kind !== 'usage') return;
  (globalThis as { gc?: () => void }).gc?.();
  const { user, system } = process.cpuUsage();
  process.send?.({ cpuUs: user + system, rssBytes: process.memoryUsage().rss } satisfies Usage);
});
process.send?.({ port: await (config.variant === 'mesh' ? mesh() : bare()) });
