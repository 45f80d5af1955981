import { type ChildProcess, execFile, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** Whether Python is there; throws where it must be. */
function hasPython(): boolean {
  try {
    execFileSync('python3', ['-c', 'import ssl'], { stdio: 'ignore' });
    return true;
  } catch {
    if (process.env['REQUIRE_INTEROP'] === '1') throw new Error('python3 with ssl is needed and not there');
    process.stdout.write('SKIP mixed languages: there is no python3 with ssl\n');
    return false;
  }
}

describe.runIf(hasPython())('Python and the mesh', () => {
  let dir: string;
  let children: ChildProcess[];
  let env: NodeJS.ProcessEnv;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-mixed-'));
    children = [];
    env = { PATH: process.env['PATH'], INMESH_DEV_CA_DIR: join(dir, 'ca'), INMESH_DRAIN_DELAY: '0ms' };
  });
  afterEach(async () => {
    for (const child of children) {
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    }
    await rm(dir, { recursive: true, force: true });
  });
  const run = (file: string, ...args: readonly string[]): Promise<string> =>
    new Promise((resolve) => {
      execFile(file, [...args], { env }, (_error, stdout, stderr) => resolve(stdout || stderr));
    });
  const start = (
    file: string,
    args: readonly string[],
    more: NodeJS.ProcessEnv,
    stdio: SpawnOptions['stdio'],
  ): ChildProcess => {
    const child = spawn(file, [...args], { env: { ...env, ...more }, stdio: stdio ?? 'ignore' });
    children.push(child);
    return child;
  };
  const mint = async (name: string): Promise<string> => {
    const out = join(dir, name);
    const inmesh = path('../../../packages/inmesh/bin/inmesh.js');
    const said = await run(process.execPath, inmesh, 'identity', 'mint', '--service', name, '--out', out);
    expect(said).toContain(`spiffe://dev.local/ns/default/sa/${name}`);
    return out;
  };
  const startStock = async (name: string): Promise<string> => {
    const child = start('python3', [path('../python/stock.py'), await mint(name)], {}, [
      'ignore',
      'pipe',
      'inherit',
    ]);
    const [port] = (await once(createInterface(child.stdout as Readable), 'line')) as [string];
    return `127.0.0.1:${port}`;
  };
  const startShop = async (stock: string): Promise<string> => {
    const settings = {
      PORT: '0',
      INMESH_SERVICE_NAME: 'shop',
      INMESH_ALLOW: 'reporter',
      INMESH_UPSTREAM_STOCK: stock,
    };
    const child = start(process.execPath, [path('../dist/main.js')], settings, ['ignore', 'ignore', 'pipe']);
    for await (const line of createInterface(child.stderr as Readable)) {
      const log = JSON.parse(line) as { readonly msg: string; readonly port?: number };
      if (log.msg === 'listening') {
        child.stderr?.resume();
        return String(log.port);
      }
    }
    throw new Error('the shop did not start');
  };
  const ask = (directory: string, port: string, target: string): Promise<string> =>
    run('python3', path('../python/ask.py'), directory, port, target);

  it('call each other over mTLS, each by the identity of the other', async () => {
    const port = await startShop(await startStock('stock'));
    const reporter = await mint('reporter');
    expect(await ask(reporter, port, '/')).toBe('200 hello spiffe://dev.local/ns/default/sa/reporter\n');
    expect(await ask(reporter, port, '/stock')).toBe(
      '200 3 left of /tea, asked by spiffe://dev.local/ns/default/sa/shop\n',
    );
    expect(await ask(await mint('mallory'), port, '/')).toBe('403 RBAC: access denied\n');
  });

  it('are not called where another answers in their place', async () => {
    const port = await startShop(await startStock('mallory'));
    const answer = await ask(await mint('reporter'), port, '/stock');
    expect(answer).toMatch(/^502 .*spiffe:\/\/dev\.local\/ns\/default\/sa\/mallory/);
  });
});
