import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stepsOf } from './steps.js';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** Ports that nobody listens on, as many as asked for. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

describe('the tutorial', () => {
  let dir: string;
  let terminals: Map<string, ChildProcess>;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-tutorial-'));
    terminals = new Map();
  });
  afterEach(async () => {
    for (const name of terminals.keys()) await stop(name);
    await rm(dir, { recursive: true, force: true });
  });
  const stop = async (name: string): Promise<void> => {
    const child = terminals.get(name);
    terminals.delete(name);
    if (child === undefined) return;
    const ended = once(child, 'exit');
    child.kill('SIGINT');
    await ended;
  };
  const environment = (): NodeJS.ProcessEnv => ({
    PATH: process.env['PATH'],
    HOME: dir,
    INMESH_DEV_CA_DIR: join(dir, 'ca'),
    npm_config_update_notifier: 'false',
  });
  const start = async (name: string, code: string): Promise<void> => {
    await stop(name);
    const child = spawn('bash', ['-c', `exec env ${code}`], {
      cwd: dir,
      env: environment(),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    terminals.set(name, child);
    let log = '';
    for await (const line of createInterface(child.stderr)) {
      log += `${line}\n`;
      if (line.includes('"msg":"listening"')) {
        child.stderr.resume();
        return;
      }
    }
    throw new Error(`${code} ended:\n${log}`);
  };
  const run = (code: string): Promise<string> =>
    new Promise((resolve) => {
      execFile('bash', ['-c', code], { cwd: dir, env: environment() }, (_error, stdout, stderr) =>
        resolve(stdout + stderr),
      );
    });

  it('does what it says, step by step', async () => {
    const written = ['8443', '8444', '3000', '9100'];
    const ports = await freePorts(written.length);
    let page = await readFile(path('../../../docs/tutorials/from-express.md'), 'utf8');
    for (const [index, port] of written.entries()) page = page.replaceAll(port, String(ports[index]));
    await cp(path('../after'), dir, { recursive: true });
    await symlink(path('../../../node_modules'), join(dir, 'node_modules'));
    const steps = stepsOf(page);
    expect(steps.filter(({ kind }) => kind === 'run')).toHaveLength(8);
    for (const step of steps) {
      if (step.kind === 'start') await start(step.terminal, step.code);
      else if (step.kind === 'stop') await stop(step.terminal);
      else expect(await run(step.code), step.code).toBe(step.expected);
    }
  });

  it('begins with an application that runs without a mesh', async () => {
    const [stock, shop] = await freePorts(2);
    const outcomes = await run(
      `ln -s ${path('../../../node_modules')} node_modules; cp ${path('../before')}/*.mjs .
       PORT=${stock} node stock.mjs & a=$!
       PORT=${shop} STOCK_URL=http://localhost:${stock} node shop.mjs & b=$!
       curl -s --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null http://localhost:${stock}/tea
       curl -s --retry 20 --retry-connrefused --retry-delay 1 http://localhost:${shop}/
       kill $a $b; wait`,
    );
    expect(outcomes).toBe('{"left":3}\n');
  });
});
