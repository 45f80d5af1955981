import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Client, Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { Mesh, MeshOptions } from '../src/index.js';
import { type Fields, noteAccess, textMethod, useMeshes } from './meshes.js';

type Records = Parameters<Parameters<Mesh['on']>[1]>[0][];

const observe = readFileSync(new URL('../../../docs/how-to/observe.md', import.meta.url), 'utf8');

/** The example of the page about decisions. */
function documented(): { readonly attemptLog: readonly Fields[] } {
  const [, json = ''] = /```json\n(\{\n {2}"method"[^`]*)```/.exec(observe) ?? [];
  return JSON.parse(json) as { attemptLog: readonly Fields[] };
}

describe('the record of an outbound call', () => {
  const meshes = useMeshes();
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise(setImmediate);
  };
  const listen = (mesh: Mesh): Records => {
    const records: Records = [];
    mesh.on('decision', (record) => records.push(record));
    return records;
  };
  const replica = async (status: number): Promise<string> => {
    const orders = await meshes.make('orders', { allow: 'web' });
    const server = orders.serve((_request: IncomingMessage, response: ServerResponse) =>
      response.writeHead(status).end(),
    );
    const { port } = await server.listen(0, '127.0.0.1');
    return `127.0.0.1:${port}`;
  };
  const caller = (endpoints: readonly string[], options: MeshOptions = {}): Promise<Mesh> =>
    meshes.make('web', {
      upstreams: {
        orders: {
          endpoints: endpoints.join(),
          calls: { retry: { statusCodes: [503], backoff: { baseMs: 1, maxMs: 1 } } },
        },
      },
      ...options,
    });

  it('says of a failed call in one place what was tried, and why it was not tried again: the example of the docs', async () => {
    const endpoints = [await replica(503), await replica(503)];
    const web = await caller(endpoints);
    const records = listen(web);
    await (await web.fetch('http://orders/items/42')).text();
    await until(() => records.length === 1);
    const [record] = records;
    const example = documented();
    // Where and how long differs each time; everything else is what the page shows.
    const steady = (log: readonly Fields[] = []): readonly Fields[] =>
      log.map((one) => ({
        ...one,
        endpoint: 'host:port',
        startedMs: typeof one['startedMs'],
        durationMs: typeof one['durationMs'],
        waitedMs: typeof one['waitedMs'],
      }));
    const told = JSON.parse(JSON.stringify(record)) as typeof example & Fields;
    expect(steady(told.attemptLog)).toEqual(steady(example.attemptLog));
    const { attemptLog: _ours, ...shown } = example as typeof example & Fields;
    expect(told).toMatchObject(shown);
    expect(new Set(told.attemptLog.map(({ endpoint }) => endpoint))).toEqual(new Set(endpoints));
  });

  it('tells flags of attempts, and times in Unix time', async () => {
    const [good, gone] = [await replica(200), '127.0.0.1:1'];
    const web = await caller([gone]);
    const records = listen(web);
    const beforeMs = Date.now();
    await web.fetch('http://orders/').catch(() => {});
    await until(() => records.length === 1);
    const [record] = records;
    expect(record?.attemptLog?.[0]).toMatchObject({ endpoint: gone, flag: 'UF', reached: 'no' });
    expect(record?.attemptLog?.[0]?.startedMs).toBeGreaterThanOrEqual(beforeMs - 1);
    expect(record?.notRetried).toBe('attempts-used-up');
    const other = await caller([good]);
    const fine = listen(other);
    await (await other.fetch('http://orders/')).text();
    await until(() => fine.length === 1);
    expect(fine).toMatchObject([{ attempts: 1, attemptLog: [{ flag: '-', httpStatus: 200 }] }]);
    expect(fine[0]?.notRetried).toBeUndefined();
  });

  it('tells of gRPC alike', async () => {
    const server = new Server();
    server.addService(
      { C: textMethod },
      { C: (_call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) => done({ code: 14 }) },
    );
    const orders = await meshes.make('orders', { allow: 'web' });
    const listener = orders.serve();
    listener.addGrpc(server);
    const { port } = await listener.listen(0, '127.0.0.1');
    const web = await caller([`127.0.0.1:${port}`]);
    const records = listen(web);
    const ask = (channel: object): Promise<unknown> => {
      const client = new Client('mesh:///orders', web.grpc.credentials(), channel);
      return new Promise((resolve) =>
        client.makeUnaryRequest('/a.B/C', Buffer.from, String, 'x', (error) => {
          client.close();
          resolve(error?.code);
        }),
      );
    };
    expect(await ask(web.grpc.channelOptions())).toBe(14);
    expect(await ask(web.grpc.channelOptions({ idempotent: ['/a.B/C'] }))).toBe(14);
    await until(() => records.length === 2);
    expect(records).toMatchObject([
      { grpcStatus: 14, notRetried: 'not-idempotent', attemptLog: [{ grpcStatus: 14 }] },
      {
        notRetried: 'attempts-used-up',
        attemptLog: [
          { retried: 'unavailable' },
          { retried: 'unavailable' },
          { notRetried: 'attempts-used-up' },
        ],
      },
    ]);
  });

  it('is a line of the access log that names the reasons, and holds no attempts where nobody listened in time', async () => {
    const lines: Fields[] = [];
    const logger = noteAccess((line) => void lines.push(line));
    const address = await replica(503);
    const web = await caller([address], { logger, accessLog: 'all', logLevel: undefined });
    await (await web.fetch('http://orders/')).text();
    await (await web.fetch('http://orders/', { method: 'POST' })).text();
    await until(() => lines.length === 2);
    expect(lines).toMatchObject([
      {
        attempts: 3,
        retried: 'retriable-status-codes,retriable-status-codes',
        not_retried: 'attempts-used-up',
      },
      { attempts: 1, not_retried: 'not-idempotent' },
    ]);
    expect(lines[1]).not.toHaveProperty('retried');
    const late = await caller([address]);
    const asked = late.fetch('http://orders/');
    const records = listen(late);
    await (await asked).text();
    await until(() => records.length === 1);
    expect(records).toMatchObject([{ attempts: 3, attemptLog: undefined, notRetried: undefined }]);
  });
});
