import {
  Server,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import type { Mesh } from 'inmesh';
import { definition, EchoClient } from './echo-proto.js';
import type { Counts } from './routes.js';

interface Message {
  readonly payload: Buffer;
  readonly peer?: string;
}

const chunkBytes = 65_536;

/**
 * `demo.v1.Echo` with health and reflection, so that anybody's client can try it.
 *
 * @param onText - Told what `Unary` was sent, while it is short.
 */
export function createEchoServer(
  mesh: Mesh,
  counts: Counts,
  onText: (text: string) => void = () => {},
): Server {
  const server = new Server();
  const peerOf = (call: unknown): string => {
    counts.calls++;
    return mesh.peer(call)?.id.uri ?? '';
  };
  server.addService(EchoClient.service, {
    Unary(call: ServerUnaryCall<Message, Message>, done: sendUnaryData<Message>) {
      const { payload } = call.request;
      if (payload.length < 256) onText(payload.toString());
      done(null, { payload, peer: peerOf(call) });
    },
    ClientStream(call: ServerReadableStream<Message, unknown>, done: sendUnaryData<unknown>) {
      peerOf(call);
      let bytes = 0;
      let messages = 0;
      call.on('data', ({ payload }: Message) => {
        bytes += payload.length;
        messages++;
      });
      call.on('end', () => done(null, { bytes, messages }));
      call.on('cancelled', () => counts.aborted++);
    },
    ServerStream(call: ServerWritableStream<{ readonly bytes: number }, Message>) {
      const peer = peerOf(call);
      let left = Number(call.request.bytes);
      const payload = Buffer.alloc(chunkBytes, 'x');
      call.on('cancelled', () => counts.aborted++);
      const write = (): void => {
        while (left > 0 && !call.cancelled) {
          const size = Math.min(left, chunkBytes);
          left -= size;
          if (!call.write({ payload: payload.subarray(0, size), peer })) {
            call.once('drain', write);
            return;
          }
        }
        call.end();
      };
      write();
    },
    Bidi(call: ServerDuplexStream<Message, Message>) {
      const peer = peerOf(call);
      call.on('cancelled', () => counts.aborted++);
      call.on('data', ({ payload }: Message) => {
        // Reads no further than it can answer.
        if (call.write({ payload, peer })) return;
        call.pause();
        call.once('drain', () => call.resume());
      });
      call.on('end', () => call.end());
    },
  });
  addHealthAndReflection(server);
  return server;
}

function addHealthAndReflection(server: Server): void {
  const health = new HealthImplementation({ '': 'SERVING', 'demo.v1.Echo': 'SERVING' });
  health.addToServer(server);
  new ReflectionService(definition).addToServer(server);
}
