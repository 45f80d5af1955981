// A service of the mesh that calls others: relays what an upstream says, or passes a call on by gRPC or HTTP.
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  Client,
  Metadata,
  type MethodDefinition,
  Server,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { createMesh } from 'inmesh';

const mesh = await createMesh();
const seen = { posts: 0, leafLeftMs: -1, leafTold: 0, middleLeftMs: -1, middleTold: 0 };

const definition = (name: string): MethodDefinition<string, string> => ({
  path: `/demo.v1.Echo/${name}`,
  requestStream: false,
  responseStream: false,
  requestSerialize: (text) => Buffer.from([10, text.length, ...Buffer.from(text)]),
  requestDeserialize: (bytes) => bytes.subarray(2).toString(),
  responseSerialize: (text) => Buffer.from(text),
  responseDeserialize: (bytes) => bytes.toString(),
});

let client: Client | undefined;

/** Calls the upstream `next` by gRPC. */
function callNext(name: string, metadata = new Metadata()): Promise<string> {
  client ??= new Client('mesh:///next', mesh.grpc.credentials(), mesh.grpc.channelOptions());
  const { path, requestSerialize, responseDeserialize } = definition(name);
  return new Promise((resolve, reject) => {
    client?.makeUnaryRequest(path, requestSerialize, responseDeserialize, 'x', metadata, (error, text) =>
      error ? reject(error) : resolve(text ?? ''),
    );
  });
}

/** Answers like its upstream, headers and all: what a careless proxy does. */
async function relay(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'POST') seen.posts++;
  const reply = await mesh.fetch('http://next/', { method: request.method ?? 'GET' });
  response.writeHead(reply.status, Object.fromEntries(reply.headers));
  response.end(await reply.text());
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? '/', 'http://x');
  const json = (value: unknown, status = 200): void =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  switch (pathname) {
    case '/seen':
      return json(seen);
    case '/relay':
      return await relay(request, response);
    case '/by-grpc':
      return json({ reply: await callNext('Unary') });
    case '/meta': {
      const metadata = new Metadata();
      metadata.set('traceparent', String(request.headers['traceparent']));
      return json(JSON.parse(await callNext('Meta', metadata)));
    }
    case '/sleep': {
      const deadline = mesh.deadline();
      seen.leafLeftMs = deadline?.remainingMs ?? -1;
      deadline?.signal.addEventListener('abort', () => seen.leafTold++);
      // Never answers: only its caller's time ends this.
      return;
    }
    default:
      return json({}, 404);
  }
}

const grpc = new Server();
grpc.addService(
  { Unary: definition('Unary') },
  {
    Unary(call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) {
      seen.middleLeftMs = mesh.deadline()?.remainingMs ?? -1;
      call.on('cancelled', () => seen.middleTold++);
      mesh.fetch('http://leaf/sleep').then(
        async (reply) => done(null, await reply.text()),
        (error: Error) => done({ code: 4, details: String(error.cause ?? error) }),
      );
    },
  },
);

const server = mesh.serve((request: IncomingMessage, response: ServerResponse) => {
  handle(request, response).catch((error: unknown) => {
    if (response.headersSent || response.destroyed) return;
    response.writeHead(504).end(String(error instanceof Error ? (error.cause ?? error) : error));
  });
});
server.addGrpc(grpc);
const { port } = await server.listen(0, '127.0.0.1');
process.send?.({ name: mesh.config.values.serviceName, pid: process.pid, host: '127.0.0.1', port });
