// A service in the middle: called over HTTP, it calls its upstreams over HTTP and gRPC. It tells what it holds on to.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Client, Metadata } from '@grpc/grpc-js';
import { type Endpoint, WatchSource } from '@inmesh/core';
import { createMesh } from 'inmesh';
import { unary } from './grpc-method.js';
import type { SoakConfig, SoakOrder, SoakSample } from './protocol.js';

const { material, ttlMs } = JSON.parse(process.argv[2] ?? '{}') as SoakConfig;
const { gc } = globalThis as { readonly gc?: () => void };

const endpoints = {
  http: new WatchSource<readonly Endpoint[]>(),
  grpc: new WatchSource<readonly Endpoint[]>(),
};
const endpointsOf = (ports: readonly number[]): readonly Endpoint[] =>
  ports.map((port) => ({ host: '127.0.0.1', port }));

const mesh = await createMesh({
  env: {},
  serviceName: 'client',
  devCaDir: material.caDir,
  devCaTtl: ttlMs,
  upstreams: {
    server: { endpoints: endpoints.http },
    ledger: { endpoints: endpoints.grpc, identity: 'server' },
  },
  logLevel: 'off',
});
let rotations = -1;
mesh.identity.subscribe(({ kind }) => {
  if (kind === 'ready') rotations++;
});
const client = new Client(
  'mesh:///ledger',
  mesh.grpc.credentials(),
  mesh.grpc.channelOptions({ idempotent: [unary.path] }),
);

function callGrpc(): Promise<void> {
  const { path, requestSerialize, responseDeserialize } = unary;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      'soak',
      new Metadata(),
      {},
      (error) => (error ? reject(error) : resolve()),
    );
  });
}

function reasonOf(error: unknown): string {
  const { cause } = error as { readonly cause?: unknown };
  return String(cause ?? error);
}

const server = mesh.serve((_request: IncomingMessage, response: ServerResponse) => {
  const calls = [mesh.fetch('http://server/item').then((reply) => reply.text()), callGrpc()];
  void Promise.all(calls).then(
    ([text]) => response.end(text),
    (error: unknown) => response.writeHead(500).end(JSON.stringify(reasonOf(error))),
  );
});

/** After a collection: what is not collected yet is no leak. */
function sample(): SoakSample {
  if (gc === undefined) throw new Error('what is held on to is counted under --expose-gc');
  gc();
  const { heapUsed, rss } = process.memoryUsage();
  const resources = process.getActiveResourcesInfo();
  const count = (...names: readonly string[]): number =>
    resources.filter((one) => names.includes(one)).length;
  return {
    heapBytes: heapUsed,
    rssBytes: rss,
    sockets: count('TCPSocketWrap', 'TLSWrap'),
    timers: count('Timeout', 'Immediate'),
    listeners: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
    rotations,
  };
}

process.on('message', (order: SoakOrder) => {
  if (order.kind === 'sample') {
    process.send?.(sample());
    return;
  }
  endpoints.http.set(endpointsOf(order.httpPorts));
  endpoints.grpc.set(endpointsOf(order.grpcPorts));
  process.send?.({});
});
process.on('disconnect', () => process.exit());
const { port } = await server.listen(0, '127.0.0.1');
process.send?.({ ports: [port] });
