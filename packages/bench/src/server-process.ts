// The server of one variant: same handler, body, certificates and timeouts on all sides.
import {
  createServer as createPlainServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { createMesh } from 'inmesh';
import { unary } from './grpc-method.js';
import { guard } from './peers/diy-server.js';
import { makePolicies } from './policies.js';
import { isDiy, isMesh, listenersOf, type Order, type RoleConfig, traceIf, type Usage } from './protocol.js';
import { tlsOf } from './tls.js';

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

/** Longer than any pause between slices: connections are opened before what is measured. */
const keepAliveMs = 600_000;

async function listen(server: HttpServer): Promise<number> {
  server.keepAliveTimeout = keepAliveMs;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function bareGrpc(): Promise<number> {
  const { cert, key, ca } = tlsOf(config.material);
  const identity = ServerCredentials.createSsl(ca, [{ cert_chain: cert, private_key: key }], true);
  return new Promise((resolve, reject) => {
    grpcServer().bindAsync('127.0.0.1:0', identity, (error, port) => (error ? reject(error) : resolve(port)));
  });
}

function bareHttp(): Promise<number> {
  const { variant, material, policies } = config;
  if (variant === 'plain') return listen(createPlainServer(handle));
  const handler = isDiy(variant) ? guard(handle, policies, variant !== 'diy-uncounted') : handle;
  return listen(
    createServer(
      { ...tlsOf(material), requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' },
      handler,
    ),
  );
}

async function openMesh(): Promise<() => Promise<number>> {
  const { cert, key, bundle } = config.material.server;
  const mesh = await createMesh({
    env: {},
    serviceName: 'server',
    certFile: cert,
    keyFile: key,
    caFile: bundle,
    policies: makePolicies(config.policies),
    logLevel: 'error',
    drainDelay: 0,
  });
  return async () => {
    const server = mesh.serve(handle);
    server.http.keepAliveTimeout = keepAliveMs;
    if (config.wire === 'grpc') server.addGrpc(grpcServer());
    return (await server.listen(0, '127.0.0.1')).port;
  };
}

process.on('message', ({ kind }: Order) => {
  if (kind === 'memory') (globalThis as { gc?: () => void }).gc?.();
  const { user, system } = process.cpuUsage();
  process.send?.({ cpuUs: user + system, rssBytes: process.memoryUsage().rss } satisfies Usage);
});
process.on('disconnect', () => process.exit());

await traceIf(config.variant);
const open = isMesh(config.variant) ? await openMesh() : config.wire === 'grpc' ? bareGrpc : bareHttp;
const ports: number[] = [];
while (ports.length < listenersOf(config.variant, config.wire)) ports.push(await open());
process.send?.({ ports });
