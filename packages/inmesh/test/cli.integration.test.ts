import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { commands, main } from '../src/cli.js';

describe('inmesh command', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-cli-'));
    vi.stubEnv('INMESH_DEV_CA_DIR', join(dir, 'ca'));
    vi.stubEnv('INMESH_SERVICE_NAME', 'web');
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(dir, { recursive: true, force: true });
  });
  const run = async (
    ...args: readonly string[]
  ): Promise<{ readonly code: number; readonly out: readonly string[]; readonly err: readonly string[] }> => {
    const out: string[] = [];
    const err: string[] = [];
    const code = await main(args, {
      print: (line) => void out.push(...line.split('\n')),
      complain: (line) => void err.push(...line.split('\n')),
    });
    return { code, out, err };
  };
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(dir, name), text);
    return join(dir, name);
  };

  it('prints all commands without arguments', async () => {
    expect(await run()).toEqual(await run('--help'));
  });

  it.each([['-h'], ['--help'], ['help'], ['identity', '--help'], ['identity', '-h']])(
    'prints all commands for %s %s',
    async (...args: readonly string[]) => {
      const { code, out, err } = await run(...args);
      expect([code, err]).toEqual([0, []]);
      for (const { usage } of commands) expect(out.join('\n')).toContain(usage);
    },
  );

  it.each(commands.flatMap(({ name }) => ['-h', '--help'].map((flag) => [...name.split(' '), flag])))(
    'prints how %s %s is used for %s',
    async (...args: readonly string[]) => {
      const { code, out, err } = await run(...args);
      const spec = commands.find(({ name }) => name === `${args[0]} ${args[1]}`);
      expect([code, err]).toEqual([0, []]);
      expect(out[0]).toBe(`Usage: ${spec?.usage}`);
      expect(out.join('\n')).toContain(spec?.text);
    },
  );

  it('says in one line that it cannot write what it minted', async () => {
    const { code, err } = await run('identity', 'mint', '--service', 'web', '--out', '/dev/null/x');
    expect([code, err]).toEqual([1, [expect.stringMatching(/^inmesh: .*\/dev\/null\/x/)]]);
  });

  it.each(['a b', '', 'a_b', 'a-', 'a..b', 'x,y', `${'a'.repeat(64)}`, 'a.*'])(
    'mints no certificate for the name %j',
    async (name) => {
      const { code, err } = await run('identity', 'mint', '--service', 'web', '--dns', name, '--out', dir);
      expect([code, err[0]]).toEqual([2, `inmesh: --dns: ${JSON.stringify(name)} is no DNS name`]);
      expect(await readdir(dir)).toEqual([]);
    },
  );

  it.each(['web.example', '*.web.example', 'localhost', 'A1.b'])('mints for the name %s', async (name) => {
    const { code } = await run(
      'identity',
      'mint',
      '--service',
      'web',
      '--dns',
      name,
      '--out',
      join(dir, 'out'),
    );
    expect([code, (await readdir(join(dir, 'out'))).toSorted()]).toEqual([
      0,
      ['bundle.pem', 'key.pem', 'svid.pem'],
    ]);
  });

  it.each([
    ['{', 'is not JSON'],
    ['null', 'has no array "cases"'],
    ['{}', 'has no array "cases"'],
    ['{"cases":{}}', 'has no array "cases"'],
    ['{"cases":[null]}', 'has a case 0 that is no object with an "id"'],
    ['{"cases":[{"id":5}]}', 'has a case 0 that is no object with an "id"'],
  ])('says in one line that %s is no file of vectors', async (text, why) => {
    const path = await file('v.json', text);
    const { code, out, err } = await run('authz', 'eval', '--vectors', path);
    expect([code, out, err]).toEqual([1, [], [expect.stringContaining(`${path} ${why}`)]]);
  });

  it('says in one line that a file of vectors is not there', async () => {
    const { code, err } = await run('authz', 'eval', join(dir, 'none.json'));
    expect([code, err]).toEqual([1, [expect.stringContaining('none.json')]]);
  });

  it('fails on a case that is nonsense, and goes on', async () => {
    const cases = [
      { id: 'a', input: { principals: ['x'] } },
      { id: 'b', input: { requestTarget: '/a' }, expected: { path: '/a' } },
    ];
    const path = await file('v.json', JSON.stringify({ cases, policySets: null }));
    const { code, out } = await run('authz', 'eval', path);
    expect([code, out.at(-1)]).toEqual([1, '1 passed, 1 failed, 0 skipped']);
  });

  it('refuses the same items of INMESH_ALLOW that a start refuses', async () => {
    for (const item of ['spiffe://', 'spiffe://*', 'spiffe://x y']) {
      vi.stubEnv('INMESH_ALLOW', item);
      const { code, err } = await run('config', 'show');
      expect([code, err]).toEqual([1, [expect.stringContaining(`INMESH_ALLOW: "${item}"`)]]);
    }
  });

  it.each([
    ['identity', 'mint'],
    ['identity', 'mint', '--service', 'x', '--out', 'y', '--nope'],
    ['authz', 'eval'],
    ['config', 'show', 'x'],
    ['nope'],
  ])('tells how it is used for %s %s', async (...args: readonly string[]) => {
    const { code, err } = await run(...args);
    expect([code, err.join('\n')]).toEqual([2, expect.stringContaining('Usage: inmesh')]);
  });
});
