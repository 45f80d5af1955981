import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isMeshError, type Logger, silentLogger, systemRuntime } from '@inmesh/core';
import { afterEach, describe, expect, it } from 'vitest';
import {
  createFileIdentity,
  createStaticIdentity,
  createTlsFrontEnd,
  type IdentitySource,
} from '../src/index.js';
import { createForge, type Parts } from './forge.js';

const runtime = systemRuntime;
const logger = silentLogger;
const forge = createForge();
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const smallKey = generateKeyPairSync('rsa', { modulusLength: 512 });
/** SHA-1 is refused by the leaf rules, the key by OpenSSL, on every line of Node. */
const reason = /signed with MD5 or SHA-1|OpenSSL refuses the certificate of spiffe:\/\/a\.test.*too small/;
const refused: readonly [string, Parts][] = [
  ['a leaf signed with SHA-1', { hash: 'sha1' }],
  ['an RSA key of 512 bits', { key: smallKey }],
];

const bundles = new Map([['a.test', forge.bundlePem]]);

async function startFiles(log: Logger = logger): Promise<{
  dir: string;
  source: IdentitySource;
  write(svid: { readonly certPem: string; readonly keyPem: string }): Promise<void>;
}> {
  const dir = await mkdtemp(join(tmpdir(), 'inmesh-'));
  const file = (name: string): string => join(dir, name);
  const source = createFileIdentity({
    certFile: file('c.pem'),
    keyFile: file('k.pem'),
    caFile: file('ca.pem'),
    pollMs: 5,
    runtime,
    logger: log,
  });
  cleanups.push(
    () => rm(dir, { recursive: true }),
    () => source.close(),
  );
  return {
    dir,
    source,
    async write({ certPem, keyPem }) {
      await Promise.all([
        writeFile(file('c.pem'), certPem),
        writeFile(file('k.pem'), keyPem),
        writeFile(file('ca.pem'), forge.bundlePem),
      ]);
    },
  };
}

/** Resolves when a state of the source passes. */
function until(source: IdentitySource, passes: (state: IdentitySource['state']) => boolean): Promise<void> {
  return new Promise((resolve) => {
    const stop = source.subscribe((state) => {
      if (!passes(state)) return;
      queueMicrotask(() => stop());
      resolve();
    });
  });
}

describe('a weak identity', () => {
  it.each(refused)('[row 14] is refused in code with its reason: %s', (_what, parts) => {
    const make = (): unknown => createStaticIdentity({ ...forge.issue(parts), bundles, runtime, logger });
    expect(make).toThrow(expect.objectContaining({ code: 'INMESH_ERR_CERTIFICATE_INVALID' }));
    expect(make).toThrow(reason);
  });

  it.each(refused)('[row 14] leaves the last good one in files: %s', async (_what, parts) => {
    const { source, write } = await startFiles();
    const frontEnd = createTlsFrontEnd({ source, runtime, logger });
    cleanups.push(() => frontEnd.close());
    const good = forge.issue();
    await write(good);
    const { svid } = await source.ready();
    await write(forge.issue(parts));
    await until(source, (state) => state.kind === 'ready' && reason.test(String(state.error)));
    expect(source.current().svid.fingerprint).toBe(svid.fingerprint);
    await write(forge.issue());
    await until(source, (state) => state.kind === 'ready' && state.value.generation === 2);
  });

  /** Resolves when so many refusals were counted, and some more readings have counted none. */
  const refusals = async (source: IdentitySource, svid: number, root: number): Promise<void> => {
    const { rotations } = source;
    while (rotations.svid.failure < svid || rotations.root.failure < root) await new Promise(setImmediate);
    let readings = 0;
    await until(source, () => ++readings > 5);
    expect([rotations.svid.failure, rotations.root.failure]).toEqual([svid, root]);
  };

  it('is counted once in files, however often they are read, by the part that differs', async () => {
    const { dir, source, write } = await startFiles();
    /** One file at once, so that no reading finds parts that do not fit. */
    const replace = async (name: string, text: string): Promise<void> => {
      await writeFile(join(dir, `${name}.new`), text);
      await rename(join(dir, `${name}.new`), join(dir, name));
    };
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const good = forge.issue({ key });
    await write(good);
    await source.ready();
    expect(source.rotations).toEqual({ svid: { success: 0, failure: 0 }, root: { success: 0, failure: 0 } });
    await replace('c.pem', forge.issue({ key, hash: 'sha1' }).certPem);
    await refusals(source, 1, 0);
    await replace('c.pem', good.certPem);
    await replace('ca.pem', 'nonsense');
    await refusals(source, 1, 1);
    await rm(join(dir, 'ca.pem'));
    await refusals(source, 1, 2);
    await replace('ca.pem', forge.bundlePem);
    await rm(join(dir, 'c.pem'));
    await refusals(source, 2, 2);
    await replace('c.pem', forge.issue({ key }).certPem);
    await until(source, (state) => state.kind === 'ready' && state.value.generation === 2);
    expect(source.rotations.svid).toEqual({ success: 1, failure: 2 });
    await replace('ca.pem', forge.bundlePem + createForge().bundlePem);
    await until(source, (state) => state.kind === 'ready' && state.value.generation === 3);
    expect(source.rotations.root).toEqual({ success: 1, failure: 2 });
  });

  it('[row 14] is told as the reason for waiting at start', async () => {
    const { source, write } = await startFiles();
    await write(forge.issue({ key: smallKey }));
    await until(source, (state) => state.kind === 'pending' && reason.test(String(state.error)));
    await refusals(source, 0, 0);
    const { error } = source.state;
    expect(isMeshError(error) && error.code).toBe('INMESH_ERR_IDENTITY_FILES');
    await write(forge.issue());
    await source.ready();
  });

  it('[row 25] does not come from a subscriber that throws: the identity is in force, the fault is logged', async () => {
    const logged: string[] = [];
    const { source, write } = await startFiles({ ...logger, error: (_fields, text) => logged.push(text) });
    const seen: number[] = [];
    source.subscribe((state) => {
      if (state.kind === 'ready') throw new Error('boom');
    });
    source.subscribe((state) => {
      if (state.kind === 'ready') seen.push(state.value.generation);
    });
    await write(forge.issue());
    await source.ready();
    await write(forge.issue());
    await until(source, (state) => state.kind === 'ready' && state.value.generation === 2);
    expect(seen).toEqual([1, 2]);
    expect(logged).toEqual(['a subscriber of the identity threw', 'a subscriber of the identity threw']);
  });
});

/** A file that answers nothing, like those of a mount that hangs, until `release` is called. */
async function hang(file: string): Promise<() => Promise<void>> {
  await rm(file, { force: true });
  await promisify(execFile)('mkfifo', [file]);
  return async () => await writeFile(file, '');
}

describe('identity files that cannot be read for a while', () => {
  it('are named where a mount hangs, and the reason for a start that fails', async () => {
    const { dir, source, write } = await startFiles();
    const { certPem, keyPem } = forge.issue();
    const release = await hang(join(dir, 'k.pem'));
    await Promise.all([
      writeFile(join(dir, 'c.pem'), certPem),
      writeFile(join(dir, 'ca.pem'), forge.bundlePem),
    ]);
    const slow = /no answer within 1000 ms from \S+k\.pem$/;
    await until(source, (state) => state.kind === 'pending' && slow.test(String(state.error)));
    await release();
    await rm(join(dir, 'k.pem'));
    await write({ certPem, keyPem });
    expect((await source.ready()).generation).toBe(1);
    await until(source, (state) => state.kind === 'ready' && state.error === undefined);
  });

  it('are complained about anew the next time, and forgiven in between', async () => {
    const lines: string[] = [];
    const warn = (_: object, text: string): void => {
      if (text.startsWith('identity files do not fit')) lines.push(text);
    };
    const log = { ...silentLogger, warn };
    const { dir, source, write } = await startFiles(log);
    const { certPem, keyPem } = forge.issue();
    await write({ certPem, keyPem });
    await source.ready();
    const before = lines.length;
    for (let times = 1; times <= 2; times++) {
      await rename(join(dir, 'k.pem'), join(dir, 'away'));
      await until(source, (state) => state.kind === 'ready' && /ENOENT/.test(String(state.error)));
      await rename(join(dir, 'away'), join(dir, 'k.pem'));
      await until(source, (state) => state.kind === 'ready' && state.error === undefined);
      expect(lines.length - before).toBe(times);
    }
    expect(source.current().generation).toBe(1);
  });
});
