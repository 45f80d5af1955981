import type { IncomingMessage, ServerResponse } from 'node:http';
import { Client, Metadata, Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { createMesh, type Mesh } from '../src/index.js';

/** Bytes as they are, for a method without a schema. */
export const asIs = (bytes: Buffer): Buffer => bytes;
/** A unary method of bytes. */
export const method = {
  path: '/test.Hops/Middle',
  requestStream: false,
  responseStream: false,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
} as const;

/** Three services, one after the other: HTTP, gRPC, HTTP; and a caller. */
export interface Hops {
  /** Calls the first by HTTP. */
  readonly caller: Mesh;
  /** The first. */
  readonly first: Mesh;
  /** What the last one was sent. */
  readonly seen: () => NodeJS.Dict<string | string[]>;
  close(): Promise<void>;
}

/** @param failures - How often the last one answers 503 before it answers well. */
export async function startHops(dir: string, failures = 0): Promise<Hops> {
  const make = (serviceName: string, upstreams: Record<string, string> = {}): Promise<Mesh> =>
    createMesh({
      env: {},
      cwd: dir,
      serviceName,
      upstreams,
      devCaDir: `${dir}/ca`,
      drainDelay: 0,
      drainTimeout: '1s',
      logLevel: 'off',
      retryOn: '5xx',
    });
  let seen: NodeJS.Dict<string | string[]> = {};
  let left = failures;
  const last = await make('last');
  const lastServer = last.serve((request: IncomingMessage, response: ServerResponse) => {
    seen = request.headers;
    if (left-- > 0) response.statusCode = 503;
    response.end('last');
  });
  const { port: lastPort } = await lastServer.listen(0, '127.0.0.1');

  const middle = await make('middle', { last: `127.0.0.1:${lastPort}` });
  const rpc = new Server();
  rpc.addService(
    { middle: method },
    {
      middle: (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        middle
          .fetch('http://last/item/1')
          .then(async (reply) => done(null, Buffer.from(await reply.text())))
          .catch((error: unknown) => done(error as Error));
      },
    },
  );
  const middleServer = middle.serve();
  middleServer.addGrpc(rpc);
  const { port: middlePort } = await middleServer.listen(0, '127.0.0.1');

  const first = await make('first', { middle: `127.0.0.1:${middlePort}` });
  const client = new Client('mesh:///middle', first.grpc.credentials(), first.grpc.channelOptions());
  const firstServer = first.serve((_request: IncomingMessage, response: ServerResponse) => {
    client.makeUnaryRequest(method.path, asIs, asIs, Buffer.alloc(0), new Metadata(), (error, reply) =>
      response.end(error?.message ?? reply?.toString()),
    );
  });
  const { port: firstPort } = await firstServer.listen(0, '127.0.0.1');
  const caller = await make('caller', { first: `127.0.0.1:${firstPort}` });
  return {
    caller,
    first,
    seen: () => seen,
    async close() {
      client.close();
      for (const mesh of [caller, first, middle, last]) await mesh.close();
    },
  };
}
