import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const run = (file: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<string> =>
  new Promise((resolve) =>
    execFile(file, [...args], { env }, (_error, stdout, stderr) => resolve(stdout + stderr)),
  );

describe('hello', () => {
  it('is what the README shows', async () => {
    const code = await readFile(path('../src/main.ts'), 'utf8');
    expect(await readFile(path('../../../README.md'), 'utf8')).toContain(`\`\`\`ts\n${code}\`\`\``);
  });

  it('greets curl by its identity, and refuses who may not', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'inmesh-hello-'));
    // The same program on a free port.
    const script = path('../dist/main.js');
    const onFreePort = join(path('../dist'), 'on-free-port.mjs');
    await writeFile(
      onFreePort,
      (await readFile(script, 'utf8')).replace(
        'await mesh.serve(app).listen(8443);',
        "process.send(await mesh.serve(app).listen(0, '127.0.0.1'));",
      ),
    );
    const env = {
      PATH: process.env['PATH'],
      INMESH_SERVICE_NAME: 'hello',
      INMESH_ALLOW: 'alice',
      INMESH_DEV_CA_DIR: join(dir, 'ca'),
      INMESH_DRAIN_DELAY: '0ms',
    };
    const child = fork(onFreePort, [], { env, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    let log = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (log += chunk));
    const { port } = await new Promise<{ port: number }>((resolve, reject) => {
      child.once('message', (message) => resolve(message as { port: number }));
      child.once('exit', reject);
    });
    const ask = async (name: string): Promise<string> => {
      const out = join(dir, name);
      await run(
        process.execPath,
        [path('../../../packages/inmesh/bin/inmesh.js'), 'identity', 'mint', '--service', name, '--out', out],
        env,
      );
      return await run('curl', [
        '-sS',
        '--cacert',
        join(out, 'bundle.pem'),
        '--cert',
        join(out, 'svid.pem'),
        '--key',
        join(out, 'key.pem'),
        `https://localhost:${port}/`,
      ]);
    };
    expect(await ask('alice')).toBe('hello spiffe://dev.local/ns/default/sa/alice\n');
    expect(await ask('mallory')).toBe('RBAC: access denied');
    // As the tutorial shows it.
    const why = '"reason":"no ALLOW policy matches","allowPolicies":["default/inmesh-allow"]';
    expect(log).toContain(why);
    expect(await readFile(path('../../../docs/tutorials/first-mesh.md'), 'utf8')).toContain(why);
    const ended = once(child, 'exit');
    child.kill();
    expect(await ended).toEqual([0, null]);
    await rm(dir, { recursive: true, force: true });
  });
});
