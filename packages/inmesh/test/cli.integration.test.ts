import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
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

  const mistakes = new URL('../../../docs/examples-of-mistakes/', import.meta.url);

  it('shows what is wrong with each of the examples of mistakes, as they say themselves', async () => {
    const names = (await readdir(mistakes)).filter((name) => name.endsWith('.yaml'));
    expect(names.length).toBeGreaterThan(8);
    for (const name of names) {
      const path = new URL(name, mistakes).pathname;
      const said = [...(await readFile(path, 'utf8')).matchAll(/^# Says: (.*)$/gm)].map(
        ([, text = '']) => text,
      );
      const { code, err } = await run('config', 'check', path);
      expect([name, code]).toEqual([name, 1]);
      const found = err.filter((line) => line.startsWith('error['));
      expect([name, found.map((line) => line.replace(/^error\[\w+\]: /, ''))]).toEqual([name, said]);
      // Each with its place, and a mark under it.
      expect(err.filter((line) => /^ +--> .*:\d+:\d+$/.test(line))).toHaveLength(said.length);
      expect(err.filter((line) => /^ +\| +\^+$/.test(line))).toHaveLength(said.length);
    }
  });

  it('checks several files, each by itself, and a directory as one', async () => {
    const good = await file(
      'good.yaml',
      'apiVersion: inmesh.dev/v1alpha1\nkind: Mesh\nspec: {timeout: 1s}\n',
    );
    const bad = new URL('unknown-kind.yaml', mistakes).pathname;
    expect(await run('config', 'check', good)).toEqual({ code: 0, out: [`${good}: ok`], err: [] });
    const { code, out, err } = await run('config', 'check', good, bad, join(dir, 'none.yaml'));
    expect([code, out, err.at(-1)]).toEqual([1, [`${good}: ok`], '2 of 3 wrong']);
    expect((await run('config', 'check')).code).toBe(2);
  });

  it('shows where each value comes from, the file included', async () => {
    const path = await file(
      'mesh.yaml',
      'apiVersion: inmesh.dev/v1alpha1\nkind: Mesh\nspec:\n  timeout: 7s\n---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {mtls: {mode: STRICT}}\n',
    );
    vi.stubEnv('INMESH_CONFIG', path);
    vi.stubEnv('INMESH_MTLS', 'permissive');
    const { out } = await run('config', 'show', '--json');
    const rows = JSON.parse(out.join('\n')) as { setting: string; value: string; from: string }[];
    expect(rows.find(({ setting }) => setting === 'timeout')).toMatchObject({
      value: '7s',
      from: `${path}:4:12`,
    });
    expect(rows.find(({ setting }) => setting === 'mtls')).toMatchObject({
      value: 'strict',
      from: `${path}:9:21, stricter than INMESH_MTLS`,
    });
  });

  it('shows what changes from one file to another', async () => {
    const mesh = (spec: string): string => `apiVersion: inmesh.dev/v1alpha1\nkind: Mesh\nspec:\n  ${spec}\n`;
    const before = await file('a.yaml', mesh('timeout: 1s\n  upstreams: {orders: "h:1"}'));
    const after = await file('b.yaml', mesh('timeout: 2s'));
    const { code, out } = await run('config', 'diff', before, after);
    expect([code, out]).toEqual([
      0,
      ['- timeout 1s', '+ timeout 2s', '- upstreams.orders h:1 as spiffe://dev.local/ns/default/sa/orders'],
    ]);
    expect((await run('config', 'diff', before, before)).out).toEqual([]);
    expect((await run('config', 'diff', before)).code).toBe(2);
  });
});
