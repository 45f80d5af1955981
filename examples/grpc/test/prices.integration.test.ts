import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { status } from '@grpc/grpc-js';
import { createTestNetwork, type TestNetwork } from '@inmesh/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPricesClient, getPrice } from '../src/prices-client.js';
import type { Price, PricesClient } from '../src/prices-proto.js';
import { createPricesServer } from '../src/prices-server.js';

describe('the gRPC example', () => {
  let network: TestNetwork;
  let clients: PricesClient[];
  beforeEach(async () => {
    network = await createTestNetwork();
    clients = [];
    await network.join('prices', { allow: 'shop', grpc: createPricesServer });
  });
  afterEach(async () => {
    for (const client of clients) client.close();
    await network.close();
  });
  const clientOf = async (name: string): Promise<PricesClient> => {
    const client = createPricesClient((await network.join(name)).mesh);
    clients.push(client);
    return client;
  };

  it('answers who is allowed, and tells a stream what changes', async () => {
    const client = await clientOf('shop');
    expect(await getPrice(client, { name: 'tea' })).toMatchObject({ name: 'tea', cents: 250 });
    const stream = client.Watch({ name: 'tea' });
    const [first] = (await once(stream, 'data')) as [Price];
    const changed = once(stream, 'data');
    client.Set({ name: 'tea', cents: 275 }, () => {});
    const [second] = (await changed) as [Price];
    expect([first.cents, second.cents]).toEqual([250, 275]);
    expect(second.setBy).toBe('spiffe://test.local/ns/default/sa/shop');
    stream.on('error', () => {});
    stream.cancel();
    await expect(getPrice(client, { name: 'gold' })).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: 'nobody sells gold',
    });
  });

  it('refuses who is not', async () => {
    await expect(getPrice(await clientOf('mallory'), { name: 'tea' })).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
    });
  });
});

describe('the programs of the gRPC example', () => {
  const script = (name: string): string => fileURLToPath(new URL(`../dist/${name}.js`, import.meta.url));

  it('find each other by environment alone', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'inmesh-grpc-'));
    const env = { PATH: process.env['PATH'], INMESH_DEV_CA_DIR: join(dir, 'ca'), INMESH_DRAIN_DELAY: '0ms' };
    const server = spawn(process.execPath, [script('main')], {
      env: { ...env, PORT: '0', INMESH_SERVICE_NAME: 'prices', INMESH_ALLOW: 'shop' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    try {
      let port = 0;
      for await (const line of createInterface(server.stderr)) {
        const log = JSON.parse(line) as { readonly msg: string; readonly port?: number };
        if (log.msg === 'listening') port = log.port ?? 0;
        if (port !== 0) break;
      }
      server.stderr.resume();
      const upstream = { INMESH_UPSTREAM_PRICES: `127.0.0.1:${port}` };
      const ask = (name: string): Promise<string> =>
        new Promise((resolve) => {
          execFile(
            process.execPath,
            [script('ask')],
            { env: { ...env, ...upstream, INMESH_SERVICE_NAME: name } },
            (_error, stdout, stderr) => resolve(stdout || stderr),
          );
        });
      expect(await ask('shop')).toBe('tea costs 2.5\n');
      expect(await ask('mallory')).toContain('PERMISSION_DENIED');
    } finally {
      const ended = once(server, 'exit');
      server.kill();
      await ended;
      await rm(dir, { recursive: true, force: true });
    }
  });
});
