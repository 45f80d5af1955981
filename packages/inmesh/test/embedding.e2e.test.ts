import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Mesh } from '../src/index.js';
import { useMeshes } from './meshes.js';

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

describe('a mesh', () => {
  const meshes = useMeshes();
  const { make } = meshes;
  let children: ChildProcess[];
  beforeEach(() => {
    children = [];
  });
  afterEach(() => {
    for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
  });
  const env = (more: Record<string, string> = {}): Record<string, string> => ({
    PATH: process.env['PATH'] ?? '',
    INMESH_DEV_CA_DIR: join(meshes.dir, 'ca'),
    INMESH_DRAIN_DELAY: '0ms',
    INMESH_LOG_LEVEL: 'error',
    ...more,
  });

  const run = (name: string): Promise<string> =>
    new Promise((resolve, reject) => {
      execFile(process.execPath, [fixture(name)], { env: env(), cwd: meshes.dir }, (error, stdout) =>
        error === null ? resolve(stdout) : reject(error),
      );
    });

  it('serves one port from every worker of a cluster, and each drains', async () => {
    const primary = fork(fixture('cluster.mjs'), [], {
      env: env({ INMESH_SERVICE_NAME: 'orders' }),
      cwd: meshes.dir,
    });
    children.push(primary);
    const [{ ports }] = (await once(primary, 'message')) as [{ ports: number[] }];
    expect(ports[0]).toBe(ports[1]);
    const seen = new Set<string>();
    while (seen.size < 2) {
      // A caller of its own each time: connections are what the primary hands out.
      const web = await make('web', { upstreams: { orders: `127.0.0.1:${ports[0]}` } });
      seen.add(await (await web.fetch('http://orders/')).text());
      await web.close();
    }
    const told = once(primary, 'message');
    primary.send('stop');
    const [{ codes }] = (await told) as [{ codes: unknown[] }];
    expect(codes).toEqual([0, 0]);
  });

  it('runs in each thread, with an identity of its own', async () => {
    const threads = ['first', 'second'].map(
      (serviceName) =>
        new Worker(fixture('thread.mjs'), {
          workerData: { serviceName, cwd: meshes.dir, devCaDir: join(meshes.dir, 'ca') },
        }),
    );
    const ports = await Promise.all(
      threads.map(async (thread) => (await once(thread, 'message'))[0] as number),
    );
    const web = await make('web', {
      upstreams: { first: `127.0.0.1:${ports[0]}`, second: `127.0.0.1:${ports[1]}` },
    });
    for (const name of ['first', 'second'])
      expect(await (await web.fetch(`http://${name}/`)).text()).toBe('spiffe://dev.local/ns/default/sa/web');
    for (const thread of threads) thread.postMessage('stop');
    await Promise.all(threads.map(async (thread) => await once(thread, 'exit')));
  });

  it('is required by CommonJS, and sees what dotenv has set before it is made', async () => {
    await writeFile(join(meshes.dir, '.env'), 'INMESH_SERVICE_NAME=shop\nINMESH_TIMEOUT=7s\n');
    expect(JSON.parse(await run('common.cjs'))).toEqual({ serviceName: 'shop', timeout: 7000 });
  });

  it('goes beside instrumentation of node:http and undici, and logs with pino', async () => {
    expect(JSON.parse(await run('instrumented.cjs'))).toEqual({
      spans: ['CLIENT by inmesh', 'INTERNAL by inmesh', 'SERVER by @opentelemetry/instrumentation-http'],
      isBelow: true,
      isActive: true,
      access: [[200, 'destination', 30]],
    });
  });

  it('is there twice in one process, with different identities', async () => {
    const [one, two] = [await make('one'), await make('two')];
    const answer = (mesh: Mesh) => (request: unknown, response: { end(text: string): void }) =>
      response.end(mesh.peer(request)?.id.uri ?? 'nobody');
    const { port: first } = await one.serve(answer(one)).listen(0, '127.0.0.1');
    const { port: second } = await two.serve(answer(two)).listen(0, '127.0.0.1');
    const caller = await make('three', {
      upstreams: { one: `127.0.0.1:${first}`, two: `127.0.0.1:${second}` },
    });
    expect(await (await caller.fetch('http://one/')).text()).toMatch(/\/three$/);
    expect(await (await caller.fetch('http://two/')).text()).toMatch(/\/three$/);
    expect(one.identity.current().svid.id.uri).not.toBe(two.identity.current().svid.id.uri);
  });
});
