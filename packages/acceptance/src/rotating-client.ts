// Our clients in a process whose certificate lives for seconds: fetch, an agent of node:http and gRPC call `orders`
// until the certificate has been renewed `argv[2]` times. Prints what was counted as JSON.
import { get, type IncomingMessage } from 'node:http';
import { Client } from '@grpc/grpc-js';
import { createMesh } from 'inmesh';

const rotations = Number(process.argv[2]);
const longestMs = 90_000;
const mesh = await createMesh();
const serials = new Set<string>();
mesh.identity.subscribe((state) => {
  if (state.kind === 'ready') serials.add(state.value.svid.serial);
});
const agent = mesh.agent();
const client = new Client('mesh:///orders', mesh.grpc.credentials(), mesh.grpc.channelOptions());
const calls: Record<string, number> = {};
const failures: string[] = [];

async function byFetch(): Promise<void> {
  const reply = await mesh.fetch('http://orders/echo');
  await reply.arrayBuffer();
  if (reply.status !== 200) throw new Error(`status ${reply.status}`);
}

function byAgent(): Promise<void> {
  return new Promise((resolve, reject) => {
    get('http://orders/echo', { agent }, (reply: IncomingMessage) => {
      reply.on('error', reject).resume();
      reply.on('end', () =>
        reply.statusCode === 200 ? resolve() : reject(new Error(`status ${String(reply.statusCode)}`)),
      );
    }).on('error', reject);
  });
}

function byGrpc(): Promise<void> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      '/demo.v1.Echo/Unary',
      (text: string) => Buffer.from([10, text.length, ...Buffer.from(text)]),
      (bytes: Buffer) => bytes,
      'hello',
      (error) => (error ? reject(error) : resolve()),
    );
  });
}

const startedMs = performance.now();

/** Calls again and again; what pauses meets connections of every age. */
async function work(name: string, call: () => Promise<void>, pauseMs: number): Promise<void> {
  while (serials.size <= rotations && performance.now() - startedMs < longestMs) {
    calls[name] = (calls[name] ?? 0) + 1;
    const calledMs = performance.now();
    await call().catch((error: unknown) => {
      const { cause, message } = error as Error;
      const [atMs, tookMs] = [startedMs, calledMs].map((since) => Math.round(performance.now() - since));
      failures.push(
        `${name} after ${atMs} ms, in a call of ${tookMs} ms: ${cause instanceof Error ? cause.message : message}`,
      );
    });
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

await Promise.all(
  Object.entries({ fetch: byFetch, agent: byAgent, grpc: byGrpc }).flatMap(([name, call]) =>
    [2, 40, 700, 1900].map((pauseMs) => work(name, call, pauseMs)),
  ),
);
client.close();
await mesh.close();
process.stdout.write(JSON.stringify({ calls, failures, rotations: serials.size - 1 }));
