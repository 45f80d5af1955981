import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Runtime, silentLogger, systemRuntime, type Timer } from '@inmesh/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type WatchedFiles, watchFiles } from '../src/manifests.js';

describe('watched files', () => {
  let dir: string;
  let file: string;
  let watch: WatchedFiles<string> | undefined;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-watch-'));
    file = join(dir, 'a.yaml');
    await writeFile(file, 'one');
  });
  afterEach(async () => {
    watch?.close();
    await rm(dir, { recursive: true, force: true });
  });
  /** How often the next reading was arranged. */
  let readings = 0;
  const runtime: Runtime = Object.assign(Object.create(systemRuntime) as Runtime, {
    arm(...args: Parameters<Runtime['arm']>) {
      readings++;
      systemRuntime.arm(...args);
    },
    disarm: (timer: Timer) => systemRuntime.disarm(timer),
  });
  const open = (make: (text: string) => string | Promise<string>, discard?: (value: string) => void) => {
    let made = 0;
    watch = watchFiles<string>({
      path: file,
      what: 'the file',
      code: 'INMESH_ERR_CONFIG_UNREADABLE',
      make(files) {
        made++;
        return make(files.get(file) ?? '');
      },
      complaint: 'refused',
      pollMs: 5,
      runtime,
      logger: silentLogger,
      ...(discard === undefined ? {} : { discard }),
    });
    return { watch, made: () => made };
  };
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise(setImmediate);
  };

  it('makes a value of each content once, also of one that is refused', async () => {
    const { watch: seen, made } = open((text) => {
      if (text === 'wrong') throw new Error('wrong');
      return text;
    });
    await seen.ready();
    await writeFile(file, 'wrong');
    await until(() => seen.state.error !== undefined);
    for (let i = 0; i < 200; i++) await new Promise(setImmediate);
    expect([seen.current(), made(), seen.refusals]).toEqual(['one', 2, 1]);
    // Back to what is in force: nothing is wrong any more, and nothing has to be made.
    await writeFile(file, 'one');
    await until(() => seen.state.error === undefined);
    expect(made()).toBe(2);
    await writeFile(file, 'two');
    await until(() => seen.current() === 'two');
  });

  it('counts what is refused, each content once, and what cannot be read until it can', async () => {
    const { watch: seen, made } = open((text) => {
      if (text.startsWith('wrong')) throw new Error('wrong');
      return text;
    });
    await seen.ready();
    expect(seen.refusals).toBe(0);
    for (const text of ['wrong one', 'wrong two']) {
      const before = made();
      await writeFile(file, text);
      await until(() => made() > before);
    }
    expect(seen.refusals).toBe(2);
    await rm(file);
    await until(() => seen.refusals === 3);
    const before = readings;
    await until(() => readings > before + 5);
    expect(seen.refusals).toBe(3);
    await writeFile(file, 'one');
    await until(() => seen.state.error === undefined);
    await rm(file);
    await until(() => seen.refusals === 4);
  });

  it('counts no start that fails', async () => {
    const { watch: seen } = open(() => {
      throw new Error('wrong');
    });
    await seen.ready().catch(() => {});
    expect([seen.state.kind, seen.refusals]).toEqual(['gone', 0]);
  });

  it('lets go of what was being made when it was closed', async () => {
    const discarded: string[] = [];
    let release: ((text: string) => void) | undefined;
    const { watch: seen } = open(
      (text) => (text === 'one' ? text : new Promise((resolve) => (release = resolve))),
      (value) => discarded.push(value),
    );
    await seen.ready();
    await writeFile(file, 'two');
    await until(() => release !== undefined);
    seen.close();
    release?.('two');
    await until(() => discarded.length > 0);
    expect([discarded, seen.current()]).toEqual([['two'], 'one']);
  });

  it.each([
    ['a pipe', async (path: string) => void execFileSync('mkfifo', [path]), 'is not a file'],
    ['a directory', async (path: string) => await mkdir(path), 'is not a file'],
    [
      'a text of another encoding',
      async (path: string) => await writeFile(path, Buffer.from('caf\u00e9', 'latin1')),
      'is not UTF-8',
    ],
  ])('refuses %s among its files, keeps what is in force, and goes on', async (_what, make, reason) => {
    watch = watchFiles<string>({
      path: dir,
      what: 'the directory',
      code: 'INMESH_ERR_CONFIG_UNREADABLE',
      make: (files) => [...files.values()].join(),
      complaint: 'refused',
      pollMs: 5,
      runtime: systemRuntime,
      logger: silentLogger,
    });
    const seen = watch;
    await seen.ready();
    const odd = join(dir, 'b.yaml');
    await make(odd);
    await until(() => seen.state.error !== undefined);
    expect(String(seen.state.error)).toContain(`b.yaml ${reason}`);
    expect(seen.current()).toBe('one');
    await rm(odd, { recursive: true });
    await writeFile(file, 'two');
    await until(() => seen.current() === 'two');
  });
});
