// Servers that are not ours, or that behave as production does: limits, GOAWAY, resets, restarts.
import { once } from 'node:events';
import { constants, createSecureServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { defaultRetryRules } from '@inmesh/resilience';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorKey } from '../src/index.js';
import { fault, path, TestMesh } from './harness.js';

interface Foreign {
  readonly port: number;
  /** Requests that were read to their end, by message. */
  readonly ledger: string[];
}

/** A gRPC server by hand; `onStream` may do something else than answer. */
async function serveForeign(
  mesh: TestMesh,
  options: { readonly maxConcurrentStreams?: number } = {},
  onStream: (stream: ServerHttp2Stream, text: string, count: number) => boolean | Promise<boolean> = () =>
    true,
): Promise<Foreign> {
  const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/echo');
  const server = createSecureServer({ cert: certPem, key: keyPem, settings: options });
  const sockets = new Set<Socket>();
  const ledger: string[] = [];
  server.on('secureConnection', (socket: Socket) => sockets.add(socket.on('error', () => {})));
  server.on('sessionError', () => {});
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      void (async () => {
        const text = Buffer.concat(chunks).subarray(5).toString();
        ledger.push(text);
        if (!(await onStream(stream, text, ledger.length)) || stream.destroyed) return;
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        const body = Buffer.from(text);
        const head = Buffer.alloc(5);
        head.writeUInt32BE(body.length, 1);
        stream.end(Buffer.concat([head, body]));
      })();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  mesh.cleanup(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, ledger };
}

const retried = { retry: { ...defaultRetryRules, backoff: { baseMs: 1, maxMs: 2 } } };
const safe = { channel: { idempotent: [path('Unary')] } };

describe('gRPC against what production does', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it('loses nothing to a limit of 10 streams', async () => {
    let active = 0;
    let peak = 0;
    const { port, ledger } = await serveForeign(mesh, { maxConcurrentStreams: 10 }, async () => {
      active++;
      peak = Math.max(peak, active);
      await new Promise(setImmediate);
      active--;
      return true;
    });
    const { client } = await mesh.client([port]);
    const texts = Array.from({ length: 100 }, (_, i) => `call ${i}`);
    expect(await Promise.all(texts.map((text) => client.unary(text)))).toEqual(texts);
    expect(ledger.toSorted()).toEqual(texts.toSorted());
    expect(peak).toBeLessThanOrEqual(10);
  });

  it('sends again, once, what a GOAWAY says was not processed, and nothing twice', async () => {
    let gone: unknown;
    const { port, ledger } = await serveForeign(mesh, {}, (stream, _text, count) => {
      if (count === 2 && gone === undefined) {
        // Everything after the stream before this one is not looked at.
        gone = stream.session;
        stream.session?.goaway(0, (stream.id ?? 0) - 2);
      }
      if (stream.session !== gone) return true;
      ledger.pop();
      return false;
    });
    const { client } = await mesh.client([port]);
    const texts = ['a', 'b', 'c', 'd'];
    expect(await Promise.all(texts.map((text) => client.unary(text)))).toEqual(texts);
    expect(ledger.toSorted()).toEqual(texts);
  });

  it('sends a refused stream again once, for any method, without tokens', async () => {
    let refusals = 1;
    const { port, ledger } = await serveForeign(mesh, {}, (stream) => {
      if (refusals-- <= 0) return true;
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return false;
    });
    const { client, cluster } = await mesh.client([port], { rules: retried });
    expect(await client.unary('x')).toBe('x');
    expect(ledger).toEqual(['x', 'x']);
    expect(cluster().stats.retries).toBe(0);
    refusals = 2;
    expect(await client.unary('y')).toBe('y');
    expect(cluster().stats.retries).toBe(1);
    refusals = Number.POSITIVE_INFINITY;
    const refused = await fault(client.unary('never'));
    expect(refused.code).toBe(14);
    expect(refused.metadata.get(errorKey)).toEqual(['INMESH_ERR_PEER_REFUSED']);
    expect(ledger.filter((text) => text === 'never')).toHaveLength(4);
    refusals = 3;
    const twice = await mesh.client([port], { rules: retried, ...safe });
    expect(await twice.client.unary('z')).toBe('z');
    expect(twice.cluster().stats.retries).toBe(2);
  });

  it('calls the endpoint that takes it when all others refuse, whatever the method', async () => {
    const refuse = (stream: ServerHttp2Stream): boolean => {
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return false;
    };
    const bad = [await serveForeign(mesh, {}, refuse), await serveForeign(mesh, {}, refuse)];
    const good = await serveForeign(mesh);
    const { client } = await mesh.client([...bad.map(({ port }) => port), good.port], {
      rules: retried,
      clusterRules: { balancer: 'round-robin', retryBudget: { capacity: 100, perSuccess: 0 } },
    });
    while (bad.some(({ ledger }) => ledger.length === 0)) await client.unary('warm');
    good.ledger.length = 0;
    const texts = Array.from({ length: 20 }, (_, i) => `call ${i}`);
    for (const text of texts) expect(await client.unary(text)).toBe(text);
    expect(good.ledger).toEqual(texts);
  });

  const reply =
    (trailers: Record<string, string>) =>
    (stream: ServerHttp2Stream): boolean => {
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', ...trailers },
        { endStream: true },
      );
      return false;
    };
  const { NGHTTP2_NO_ERROR: none, NGHTTP2_HTTP_1_1_REQUIRED: last } = constants;
  const resets = Array.from({ length: last - none + 1 }, (_, code) => code)
    .filter((code) => code !== constants.NGHTTP2_REFUSED_STREAM)
    .map((code) => [
      `RST_STREAM ${code}`,
      (stream: ServerHttp2Stream): boolean => {
        stream.close(code);
        return false;
      },
    ]) as [string, (stream: ServerHttp2Stream) => boolean][];

  it.each([
    ...resets,
    [
      'the end of the connection',
      (stream: ServerHttp2Stream) => {
        stream.session?.destroy();
        return false;
      },
    ],
    [
      'a GOAWAY that counts it as processed, and the end',
      (stream: ServerHttp2Stream) => {
        stream.session?.goaway(0, stream.id ?? 0, undefined);
        stream.session?.destroy();
        return false;
      },
    ],
    ['UNAVAILABLE', reply({ 'grpc-status': '14' })],
    [
      'UNAVAILABLE that claims a refusal and asks for another try',
      reply({
        'grpc-status': '14',
        'grpc-message': 'Stream refused by server',
        'grpc-retry-pushback-ms': '0',
      }),
    ],
    [
      'UNAVAILABLE that claims a broken connection',
      reply({ 'grpc-status': '14', 'grpc-message': 'Connection dropped' }),
    ],
    ['INTERNAL', reply({ 'grpc-status': '13' })],
  ])('never sends a call again that is not idempotent after %s', async (_name, end) => {
    const { port, ledger } = await serveForeign(mesh, {}, end);
    const { client, cluster } = await mesh.client([port], { rules: retried });
    await fault(client.unary('pay'));
    expect(ledger).toEqual(['pay']);
    expect(cluster().stats.retries).toBe(0);
  });

  it('never sends it again when it was refused once and then run', async () => {
    const { port, ledger } = await serveForeign(mesh, {}, (stream, _text, count) => {
      if (count === 1) stream.close(constants.NGHTTP2_REFUSED_STREAM);
      else stream.session?.destroy();
      return false;
    });
    const { client } = await mesh.client([port], { rules: retried });
    await fault(client.unary('pay'));
    expect(ledger).toEqual(['pay', 'pay']);
  });

  it('sends a call once that a server finds too much (ENHANCE_YOUR_CALM)', async () => {
    const { port, ledger } = await serveForeign(mesh, {}, (stream) => {
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      return false;
    });
    const { client, cluster } = await mesh.client([port], { rules: retried, ...safe });
    expect((await fault(client.unary('get'))).code).toBe(8);
    expect(ledger).toEqual(['get']);
    expect(cluster()).toMatchObject({ activeRetries: 0, activeCalls: 0, ejected: 0 });
  });

  const broken = resets.filter(([name]) => name !== `RST_STREAM ${constants.NGHTTP2_ENHANCE_YOUR_CALM}`);
  it.each(broken)('repeats an idempotent call after %s, and counts what it repeats', async (_name, end) => {
    const { port, ledger } = await serveForeign(mesh, {}, end);
    const { client, cluster } = await mesh.client([port], { rules: retried, ...safe });
    await fault(client.unary('get'));
    expect(ledger).toEqual(['get', 'get', 'get']);
    expect(cluster().stats.retries).toBe(2);
    expect(cluster()).toMatchObject({ activeRetries: 0, activeCalls: 0 });
  });

  it('takes no token for what is too large to be repeated', async () => {
    const { port, ledger } = await serveForeign(mesh, {}, reply({ 'grpc-status': '14' }));
    const { client, cluster } = await mesh.client([port], { rules: retried, ...safe });
    const tokens = cluster().budget.tokens;
    await fault(client.unary('x'.repeat(3_000_000)));
    expect(ledger).toHaveLength(1);
    expect(cluster().stats).toMatchObject({ retries: 0, budgetRefusals: 0 });
    expect(cluster().budget.tokens).toBe(tokens);
  });

  it('repeats a call whose connection broke only if its method is idempotent, and blames the endpoint', async () => {
    const bad = await serveForeign(mesh, {}, (stream) => {
      stream.session?.destroy();
      return false;
    });
    const good = await serveForeign(mesh);
    const rules = { balancer: 'round-robin' as const };
    const plain = await mesh.client([bad.port, good.port], { rules: retried, clusterRules: rules });
    const results: (grpc.ServiceError | string)[] = [];
    while (bad.ledger.length === 0)
      results.push(await plain.client.unary('pay').catch((error: grpc.ServiceError) => error));
    const broken = results.at(-1) as grpc.ServiceError;
    expect(broken.code).toBe(14);
    expect(broken.metadata.get(errorKey)).toEqual(['INMESH_ERR_CONNECTION_LOST']);
    expect(bad.ledger.length + good.ledger.length).toBe(results.length);
    expect(plain.cluster().endpoints.map(({ localErrorsInRow }) => localErrorsInRow)).toEqual([1, 0]);
    const idempotent = await mesh.client([bad.port, good.port], {
      rules: retried,
      clusterRules: rules,
      ...safe,
    });
    bad.ledger.length = 0;
    while (bad.ledger.length === 0) expect(await idempotent.client.unary('get')).toBe('get');
    expect(idempotent.cluster().stats.retries).toBe(1);
  });

  it('loses nothing to a server that ends connections by age', async () => {
    const peers = new Set<string>();
    const { port } = await mesh.serve(
      {
        Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
          peers.add(call.getPeer());
          setImmediate(() => done(null, 'ok'));
        },
      },
      { server: { 'grpc.max_connection_age_ms': 150, 'grpc.max_connection_age_grace_ms': 5000 } },
    );
    const { client } = await mesh.client([port]);
    const loop = async (): Promise<void> => {
      while (peers.size < 4) expect(await client.unary('x')).toBe('ok');
    };
    await Promise.all(Array.from({ length: 8 }, loop));
  });

  it('loses nothing to a replica that drains under load', async () => {
    const slow = (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>): void =>
      void setImmediate(() => done(null, call.request));
    const first = await mesh.serve({ Unary: slow });
    const second = await mesh.serve({ Unary: slow });
    const { client, cluster } = await mesh.client([first.port, second.port]);
    let isOver = false;
    let calls = 0;
    const loop = async (): Promise<void> => {
      while (!isOver) {
        expect(await client.unary(`${calls}`)).toBeTruthy();
        calls++;
      }
    };
    const loops = Promise.all(Array.from({ length: 16 }, loop));
    while (calls < 100) await new Promise(setImmediate);
    await first.listener.drain({ delayMs: 0, timeoutMs: 5000 });
    const at = calls;
    while (calls < at + 100) await new Promise(setImmediate);
    isOver = true;
    await loops;
    expect(cluster()).toMatchObject({ activeCalls: 0, pending: 0 });
    expect(cluster().stats.retries).toBe(0);
  });

  it('gives calls that outlast the drain a status: those that have begun to answer, and those that have not', async () => {
    const { listener, port, live } = await mesh.serve({ Unary: () => {} });
    const { client } = await mesh.client([port]);
    const call = client.bidi();
    call.write('x');
    await once(call, 'data');
    const unary = fault(client.unary('never answered'));
    while (live.size < 2) await new Promise(setImmediate);
    const failed = once(call, 'error') as Promise<[grpc.ServiceError]>;
    await listener.drain({ delayMs: 0, timeoutMs: 50 });
    const [error] = await failed;
    for (const one of [error, await unary])
      expect([one.code, one.details]).toEqual([
        grpc.status.UNAVAILABLE,
        'the listener closed before the call ended',
      ]);
  });
});
