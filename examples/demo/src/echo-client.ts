import type { Client } from '@grpc/grpc-js';
import type { Mesh } from 'inmesh';
import { EchoClient } from './echo-proto.js';

/** What `Unary` of a proto-loader client looks like. */
interface UnaryClient extends Client {
  Unary(
    message: { payload: Buffer },
    done: (error: Error | null, reply: { payload: Buffer; peer: string }) => void,
  ): void;
}

/** A client of the payments service. */
export function createEchoClient(mesh: Mesh, name = 'payments'): UnaryClient {
  return new EchoClient(
    `mesh:///${name}`,
    mesh.grpc.credentials(),
    mesh.grpc.channelOptions(),
  ) as unknown as UnaryClient;
}

/** Says `text`; resolves with whom the server saw. */
export function callEcho(client: UnaryClient, text: string): Promise<{ readonly calledBy: string }> {
  return new Promise((resolve, reject) => {
    client.Unary({ payload: Buffer.from(text) }, (error, reply) =>
      error ? reject(error) : resolve({ calledBy: reply.peer }),
    );
  });
}
