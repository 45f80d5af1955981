import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

describe('how to use certificates', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-certificates-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('makes with openssl what a service takes', async () => {
    const page = await readFile(path('../../../docs/how-to/certificates.md'), 'utf8');
    const blocks = (language: string, word: string): readonly string[] =>
      [...page.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, 'g'))]
        .map(([, code = '']) => code)
        .filter((code) => code.includes(word));
    const [extensions = ''] = blocks('text', 'subjectAltName');
    await writeFile(join(dir, 'orders.ext'), extensions);
    await symlink(path('../../../node_modules'), join(dir, 'node_modules'));
    const script = [...blocks('sh', 'openssl'), ...blocks('sh', 'identity show')];
    expect(script).toHaveLength(3);
    const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve) => {
      execFile(
        'bash',
        ['-e', '-c', script.join('')],
        { cwd: dir, env: { PATH: process.env['PATH'], HOME: dir, npm_config_update_notifier: 'false' } },
        (_error, out, err) => resolve({ stdout: out, stderr: err }),
      );
    });
    expect(stdout, stderr).toMatch(/^id +spiffe:\/\/example\.org\/ns\/prod\/sa\/orders$/m);
    expect(stdout).toMatch(/^origin +files$/m);
  });
});
