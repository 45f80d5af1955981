import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import * as grpc from '@grpc/grpc-js';
import { type Layer, MeshError } from '@inmesh/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, echo, fault, idempotent, retried, TestMesh, type TestService } from './harness.js';
import { message, rpcHead } from './http2-frames.js';

const { UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE } = grpc.status;

describe('calls that share a connection', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it.each([
    'connection',
    'content-length',
    'http2-settings',
    'keep-alive',
    'proxy-connection',
    'transfer-encoding',
    'upgrade',
  ])('are not lost to metadata that names %s, which is not sent', async (name) => {
    const seen: grpc.MetadataValue[][] = [];
    const service = await mesh.serve({
      Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
        seen.push(call.metadata.get(name), call.metadata.get('x-kept'));
        done(null, 'ok');
      },
    });
    let connections = 0;
    service.listener.server.on('connection', () => connections++);
    const { client, cluster } = await mesh.client([service.port], { rules: retried(), channel: idempotent });
    const other = client.bidi();
    other.write('a');
    await once(other, 'data');
    const metadata = new grpc.Metadata();
    metadata.set(name, '7');
    metadata.set('x-kept', 'b');
    expect(await client.unary('x', metadata)).toBe('ok');
    expect(metadata.get(name)).toEqual(['7']);
    other.write('b');
    expect(await once(other, 'data')).toEqual(['echo b']);
    other.cancel();
    await once(other, 'error');
    expect([seen, connections, cluster().budget.tokens]).toEqual([[[], ['b']], 1, 10]);
  });

  it('are not lost to metadata that no server takes: the call alone fails, and is not sent', async () => {
    const service = await mesh.serve();
    const { client, cluster } = await mesh.client([service.port], { rules: retried(), channel: idempotent });
    const other = client.bidi();
    other.write('a');
    await once(other, 'data');
    const metadata = new grpc.Metadata();
    metadata.set('x-big', 'a'.repeat(40_000));
    expect(await client.unary('x', metadata)).toBe('echo x');
    metadata.set('x-more-bin', Buffer.alloc(30_000));
    const error = await fault(client.unary('x', metadata));
    expect([error.code, codeOf(error)]).toEqual([8, 'INMESH_ERR_OVERFLOW']);
    other.write('b');
    expect(await once(other, 'data')).toEqual(['echo b']);
    other.cancel();
    await once(other, 'error');
    expect(cluster()).toMatchObject({ activeCalls: 0, stats: { calls: 3, retries: 0 } });
  });
});

describe('calls that we end while their handlers run', () => {
  let mesh: TestMesh;
  let service: TestService;
  let session: ClientHttp2Session;
  let isDenied = false;
  let finish: (() => void)[] = [];
  let heads = 0;
  beforeEach(async () => {
    mesh = await TestMesh.start();
    isDenied = false;
    finish = [];
    heads = 0;
    const deny: Layer = {
      role: 'own',
      scope: 'call',
      why: 'test',
      bind: () => ({
        request: () => undefined,
        head: () => void heads++,
        recheck: () =>
          isDenied ? { kind: 'reject', error: new MeshError('INMESH_ERR_AUTHZ_DENIED', 'no') } : undefined,
      }),
    };
    const late = (done: grpc.sendUnaryData<string>): void => {
      finish.push(
        () => done(null, 'late'),
        () => done({ code: UNAUTHENTICATED, details: 'late' }),
      );
    };
    service = await mesh.serve(
      {
        Unary: (_call: unknown, done: grpc.sendUnaryData<string>) => late(done),
        Client: (call: grpc.ServerReadableStream<string, string>, done: grpc.sendUnaryData<string>) => {
          call.on('data', () => {});
          late(done);
        },
        Bidi: (call: grpc.ServerDuplexStream<string, string>) => {
          call.on('error', () => {});
          finish.push(() => {
            call.sendMetadata(new grpc.Metadata());
            call.write('late');
            call.end();
          });
          call.on('data', (text: string) => {
            if (text === 'answer') call.write('early');
          });
        },
      },
      { layers: [deny], mode: 'permissive' },
    );
    session = connectHttp2(`http://127.0.0.1:${service.port}`);
    session.on('error', () => {});
    mesh.cleanup(() => session.destroy());
  });
  afterEach(() => mesh.close());

  it.each([
    ['Unary', 'x'],
    ['Client', 'x'],
    ['Bidi', 'x'],
    ['Bidi', 'answer'],
  ] as const)(
    'have a status, once, and go away though their callers keep them open: %s, %s',
    async (name, text) => {
      const stream = session.request(rpcHead(echo[name].path));
      let status: unknown;
      const note = (fields: Record<string, unknown>): void => {
        status = fields['grpc-status'] ?? status;
      };
      stream
        .on('error', () => {})
        .on('response', note)
        .on('trailers', note)
        .resume();
      stream.write(message(text));
      if (name === 'Unary') stream.end();
      while (finish.length === 0) await new Promise(setImmediate);
      if (text === 'answer') await once(stream, 'data');
      isDenied = true;
      service.live.recheckAll();
      // It does not know, and must not learn of it by an exception.
      for (const one of finish) one();
      await new Promise((resolve) => stream.once('close', resolve));
      await service.live.whenIdle();
      expect([status, heads]).toEqual([String(PERMISSION_DENIED), 1]);
    },
  );

  it('throw nothing into handlers that answer after the end of a drain', async () => {
    const stream = session.request(rpcHead(echo.Client.path));
    const response = once(stream, 'response');
    stream.on('error', () => {}).resume();
    stream.write(message('x'));
    while (finish.length === 0) await new Promise(setImmediate);
    const drained = service.listener.drain({ delayMs: 0, timeoutMs: 50 });
    const [head] = (await response) as [Record<string, unknown>];
    for (const one of finish) one();
    expect(head['grpc-status']).toBe(String(UNAVAILABLE));
    await drained;
  });
});
