// A replica that is restarted all the time, and has no handler of signals: a ledger by HTTP and gRPC, a stream of
// events, a WebSocket. Its ledger is a file that all replicas share.
import { appendFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type MethodDefinition,
  Server,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { createMesh } from 'inmesh';
import { WebSocketServer } from 'ws';

const ledger = process.env['LEDGER'] ?? '';

/** Work takes a moment, so that restarts meet calls that are under way. */
function later(work: () => void): void {
  setTimeout(work, 5 + Math.random() * 40);
}

function pay(id: string): void {
  appendFileSync(ledger, `${id}\n`);
}

function sendEvents(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const timer = setInterval(() => response.write('data: tick\n\n'), 50);
  response.on('close', () => clearInterval(timer));
}

function handle(request: IncomingMessage, response: ServerResponse): void {
  if (request.url === '/events') {
    sendEvents(response);
    return;
  }
  let body = '';
  request.on('data', (chunk: Buffer) => (body += chunk.toString()));
  request.on('end', () =>
    later(() => {
      if (request.method === 'POST') pay(body);
      response.end('done');
    }),
  );
}

const method = (name: string, isStream: boolean): MethodDefinition<string, string> => ({
  path: `/demo.v1.Echo/${name}`,
  requestStream: isStream,
  responseStream: isStream,
  requestSerialize: (text) => Buffer.from([10, text.length, ...Buffer.from(text)]),
  requestDeserialize: (bytes) => bytes.subarray(2).toString(),
  responseSerialize: (text) => Buffer.from(text),
  responseDeserialize: (bytes) => bytes.toString(),
});

const grpc = new Server();
grpc.addService(
  { Unary: method('Unary', false), Bidi: method('Bidi', true) },
  {
    Unary: (call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) =>
      later(() => {
        pay(call.request);
        done(null, call.request);
      }),
    Bidi: (call: ServerDuplexStream<string, string>) => {
      call.on('data', (text: string) => call.write(text));
      call.on('end', () => call.end());
    },
  },
);

const mesh = await createMesh();
const server = mesh.serve(handle);
server.addGrpc(grpc);
new WebSocketServer({ server: server.http }).on('connection', (socket) => socket.send('hello'));
const { port } = await server.listen(0, '127.0.0.1');
process.send?.({ name: mesh.config.values.serviceName, pid: process.pid, host: '127.0.0.1', port });
