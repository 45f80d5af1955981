import { once } from 'node:events';
import * as grpc from '@grpc/grpc-js';
import type { LogFields, Logger } from '@inmesh/core';
import { silentLogger } from '@inmesh/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fault, idempotent, retried, type TestClient, TestMesh, type Unary } from './harness.js';

const metadataOf = (entries: Iterable<readonly [string, string]>): grpc.Metadata => {
  const metadata = new grpc.Metadata();
  for (const [name, value] of entries) metadata.add(name, value);
  return metadata;
};
const numbered = (count: number): grpc.Metadata =>
  metadataOf(Array.from({ length: count }, (_, i) => [`x-${i}`, 'v'] as const));
const big = (bytes: number): grpc.Metadata => metadataOf([['x-big', 'a'.repeat(bytes)]]);
const hopByHop = metadataOf([
  ['connection', 'close'],
  ['content-length', '7'],
  ['http2-settings', 'a'],
  ['keep-alive', 'timeout=5'],
  ['proxy-connection', 'close'],
  ['te', 'gzip'],
  ['transfer-encoding', 'chunked'],
  ['upgrade', 'h2c'],
  ['x-own', 'kept'],
]);

describe('metadata of replies', () => {
  let mesh: TestMesh;
  const logged: unknown[] = [];
  const logger: Logger = { ...silentLogger, error: ({ code }: LogFields) => void logged.push(code) };
  beforeEach(async () => {
    logged.length = 0;
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  /** A server whose call `held` is answered after the one under test: it must not notice it. */
  async function beside(
    answer: Unary,
  ): Promise<TestClient & { neighbour: Promise<string>; calls(): number }> {
    let calls = 0;
    let release: () => void = () => {};
    const Unary: Unary = (call, done) => {
      if (call.request === 'held') release = () => done(null, 'neighbour');
      else if (call.request === 'x') {
        calls++;
        answer(call, done);
      } else {
        release();
        done(null, 'next');
      }
    };
    const { port } = await mesh.serve({ Unary }, { logger });
    const client = await mesh.client([port], { rules: retried({ maxAttempts: 3 }), channel: idempotent });
    return { ...client, neighbour: client.client.unary('held'), calls: () => calls };
  }
  const isWell = async ({
    client,
    cluster,
    neighbour,
  }: Awaited<ReturnType<typeof beside>>): Promise<void> => {
    expect(await client.unary('next')).toBe('next');
    expect(await neighbour).toBe('neighbour');
    expect(cluster()).toMatchObject({ connections: 1, activeCalls: 0, ejected: 0 });
  };

  it.each([
    ['ASCII', 'd'.repeat(100_000), 8192],
    ['two octets', `d${'é'.repeat(50_000)}`, 1 + Math.floor(8191 / 6)],
    ['three octets', '€'.repeat(50_000), Math.floor(8192 / 9)],
    ['four octets', `dd${'😀'.repeat(50_000)}`, 2 + 2 * Math.floor(8190 / 12)],
  ])('a long message of a status is cut to 8 KiB as it is sent: %s', async (_what, details, length) => {
    const all = await beside((_call, done) => done({ code: 5, details }));
    const error = await fault(all.client.unary('x'));
    expect(error.code).toBe(5);
    expect(error.details).toBe(details.slice(0, length));
    await isWell(all);
  });

  // A caller sends a text that ends in the middle of a character; the handler says it again.
  it.each([
    ['at once', (_call, done) => done({ code: 5, details: 'no \ud83d, 100 % \udc00' })],
    [
      'after a head',
      (call, done) => {
        call.sendMetadata(metadataOf([['x-own', 'kept']]));
        done({ code: 5, details: 'no \ud83d, 100 % \udc00' });
      },
    ],
  ] satisfies [string, Unary][])(
    'details with half of a surrogate pair, %s, are sent without it',
    async (_what, answer) => {
      const all = await beside(answer as Unary);
      expect(await fault(all.client.unary('x'))).toMatchObject({
        code: 5,
        details: 'no \ufffd, 100 % \ufffd',
      });
      await isWell(all);
    },
  );

  it.each([
    ['too large, of an error', (_call, done) => done({ code: 5, details: 'no', metadata: big(62_000) })],
    ['too large, after a reply', (_call, done) => done(null, 'ok', big(62_000))],
    ['too many, of an error', (_call, done) => done({ code: 5, details: 'no', metadata: numbered(140) })],
    ['too many, after a reply', (_call, done) => done(null, 'ok', numbered(140))],
    [
      'too large, in the head',
      (call, done) => {
        call.sendMetadata(big(62_000));
        done(null, 'ok');
      },
    ],
    [
      'too many, in the head',
      (call, done) => {
        call.sendMetadata(numbered(140));
        done(null, 'ok');
      },
    ],
  ] satisfies [string, Unary][])(
    'metadata that is %s ends its own call and says so',
    async (_what, answer) => {
      const all = await beside(answer as Unary);
      const error = await fault(all.client.unary('x'));
      expect(error).toMatchObject({ code: 8, details: expect.stringContaining('metadata of the reply') });
      expect([all.calls(), logged]).toEqual([1, ['INMESH_ERR_OVERFLOW']]);
      await isWell(all);
    },
  );

  it('as large and as many as is allowed arrive', async () => {
    const metadata = numbered(120);
    metadata.set('x-big', 'a'.repeat(54_000));
    const all = await beside((call, done) => {
      call.sendMetadata(metadata.clone());
      done({ code: 5, details: 'no', metadata: metadata.clone() });
    });
    const error = await fault(all.client.unary('x'));
    expect([error.code, error.metadata.get('x-119'), error.metadata.get('x-big')[0]?.length]).toEqual([
      5,
      ['v'],
      54_000,
    ]);
    await isWell(all);
  });

  it('headers of HTTP/1.1 are left out of head, trailers and errors', async () => {
    const all = await beside((call, done) => {
      call.sendMetadata(hopByHop.clone());
      done(null, 'ok', hopByHop.clone());
    });
    const seen: grpc.Metadata[] = [];
    const reply = await new Promise<string>((resolve, reject) => {
      const call = all.client.start('x', (error, value) => (error ? reject(error) : resolve(value ?? '')));
      call.on('metadata', (metadata) => seen.push(metadata));
      call.on('status', ({ metadata }) => seen.push(metadata));
    });
    expect(reply).toBe('ok');
    expect(seen).toHaveLength(2);
    for (const metadata of seen)
      expect(Object.keys(metadata.getMap()).filter((name) => hopByHop.get(name).length > 0)).toEqual([
        'x-own',
      ]);
    await isWell(all);
    const failing = await beside((_call, done) =>
      done({ code: 5, details: 'no', metadata: hopByHop.clone() }),
    );
    expect(await fault(failing.client.unary('x'))).toMatchObject({ code: 5, details: 'no' });
    await isWell(failing);
    expect(logged).toEqual([]);
  });

  it('that node:http2 refuses otherwise ends its call with INTERNAL, not the process', async () => {
    const twice = metadataOf([
      ['content-type', 'a'],
      ['content-type', 'b'],
    ]);
    const all = await beside((_call, done) => done(null, 'ok', twice));
    expect((await fault(all.client.unary('x'))).code).toBe(13);
    expect(logged).toEqual(['INMESH_ERR_BAD_REPLY']);
    await isWell(all);
  });

  it('of a stream are bounded as well', async () => {
    const { port } = await mesh.serve(
      {
        Server: (call: grpc.ServerWritableStream<string, string>) => {
          call.sendMetadata(numbered(140));
          call.write('a');
          call.end();
        },
      },
      { logger },
    );
    const { client } = await mesh.client([port]);
    const [error] = (await once(client.stream('x').resume(), 'error')) as [grpc.ServiceError];
    expect(error.code).toBe(8);
    expect(logged).toEqual(['INMESH_ERR_OVERFLOW']);
  });
});
