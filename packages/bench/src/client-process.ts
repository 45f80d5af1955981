// The client of one variant: what is measured is mostly this process.
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { createMesh } from 'inmesh';
import { type Dispatcher, Pool } from 'undici';
import { unary } from './grpc-method.js';
import type { Order, RoleConfig, Slice, SliceResult, Usage } from './protocol.js';

const config = JSON.parse(process.argv[2] ?? '{}') as RoleConfig;
const cert = readFileSync(config.cert);
const key = readFileSync(config.key);
const ca = readFileSync(config.bundle);

type Call = () => Promise<void>;

async function openMesh(): Promise<Awaited<ReturnType<typeof createMesh>>> {
  return await createMesh({
    env: {},
    serviceName: 'client',
    devCaDir: config.caDir,
    upstreams: { server: `127.0.0.1:${config.port}` },
    logLevel: 'error',
  });
}

async function httpCall(): Promise<Call> {
  const origin = config.variant === 'mesh' ? 'http://server' : `https://localhost:${config.port}`;
  const dispatcher: Dispatcher =
    config.variant === 'mesh'
      ? (await openMesh()).dispatcher
      : new Pool(origin, {
          connections: 64,
          pipelining: 1,
          connect: { cert, key, ca, servername: 'localhost', maxCachedSessions: 0 },
        });
  return async () => {
    const { statusCode, body } = await dispatcher.request({ origin, path: '/s1/v1', method: 'GET' });
    await body.json();
    if (statusCode !== 200) throw new Error(String(statusCode));
  };
}

async function fetchCall(): Promise<Call> {
  const mesh = config.variant === 'mesh' ? await openMesh() : undefined;
  const url = mesh === undefined ? `https://localhost:${config.port}/s1/v1` : 'http://server/s1/v1';
  const dispatcher =
    mesh === undefined
      ? new Pool(new URL(url).origin, {
          connections: 64,
          pipelining: 1,
          connect: { cert, key, ca, servername: 'localhost', maxCachedSessions: 0 },
        })
      : undefined;
  const fetcher = mesh?.fetch ?? ((input: string) => fetch(input, { dispatcher } as unknown as RequestInit));
  return async () => {
    const reply = await fetcher(url);
    await reply.json();
    if (reply.status !== 200) throw new Error(String(reply.status));
  };
}

async function grpcCall(): Promise<Call> {
  const mesh = config.variant === 'mesh' ? await openMesh() : undefined;
  const client =
    mesh === undefined
      ? new Client(`localhost:${config.port}`, credentials.createSsl(ca, key, cert), {
          'grpc.use_local_subchannel_pool': 1,
        })
      : new Client('mesh:///server', mesh.grpc.credentials(), mesh.grpc.channelOptions());
  const text = 'x'.repeat(64);
  return () =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        unary.path,
        unary.requestSerialize,
        unary.responseDeserialize,
        text,
        new Metadata(),
        {},
        (error) => (error ? reject(error) : resolve()),
      );
    });
}

const call = await (config.wire === 'grpc' ? grpcCall() : config.wire === 'fetch' ? fetchCall() : httpCall());
const cpuUs = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

async function runSlice({ load, ms }: Slice): Promise<SliceResult> {
  const latencies: number[] = [];
  let errors = 0;
  const start = performance.now();
  const endMs = start + ms;
  const cpu = cpuUs();
  const once = async (intendedMs: number): Promise<void> => {
    try {
      await call();
      latencies.push(performance.now() - intendedMs);
    } catch {
      errors++;
    }
  };
  if ('concurrency' in load) {
    await Promise.all(
      Array.from({ length: load.concurrency }, async () => {
        while (performance.now() < endMs) await once(performance.now());
      }),
    );
  } else {
    // Open loop, Poisson: latency counts from when a request should have started.
    const pending: Promise<void>[] = [];
    let next = start;
    while (next < endMs) {
      const wait = next - performance.now();
      if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
      pending.push(once(next));
      next += (-Math.log(1 - Math.random()) * 1000) / load.rate;
    }
    await Promise.all(pending);
  }
  const spent = cpuUs() - cpu;
  latencies.sort((a, b) => a - b);
  return {
    requests: latencies.length,
    errors,
    cpuUs: spent,
    wallMs: performance.now() - start,
    p50Us: (latencies[Math.floor(latencies.length / 2)] ?? 0) * 1000,
  };
}

async function hold(count: number): Promise<void> {
  for (let opened = 0; opened < count; opened += 50) {
    await Promise.all(
      Array.from(
        { length: Math.min(50, count - opened) },
        () =>
          new Promise<void>((resolve, reject) => {
            const socket = connect({
              port: config.port ?? 0,
              host: '127.0.0.1',
              servername: 'localhost',
              cert,
              key,
              ca,
              ALPNProtocols: ['http/1.1'],
            });
            socket.on('error', reject);
            socket.on('secureConnect', () => socket.write('GET /s1/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n'));
            socket.once('data', () => resolve());
          }),
      ),
    );
  }
}

process.on('message', (order: Order) => {
  if (order.kind === 'slice') void runSlice(order).then((result) => process.send?.(result));
  else if (order.kind === 'hold') void hold(order.connections).then(() => process.send?.({}));
  else process.send?.({ cpuUs: cpuUs(), rssBytes: process.memoryUsage().rss } satisfies Usage);
});
process.send?.({});
