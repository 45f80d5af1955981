import { X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MeshError, silentLogger, systemRuntime } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createDevIdentity,
  type DevIdentityOptions,
  type IdentitySource,
  mintDevSvid,
} from '../src/index.js';

const dayMs = 86_400_000;

describe('dev CA', () => {
  let dir: string;
  let sources: IdentitySource[];
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-dev-ca-'));
    sources = [];
  });
  afterEach(async () => {
    await Promise.all(sources.map((source) => source.close()));
    await rm(dir, { recursive: true, force: true });
  });

  const options = (extra: Partial<DevIdentityOptions> = {}): DevIdentityOptions => ({
    dir,
    trustDomain: 'dev.local',
    namespace: 'default',
    service: 'web',
    ttlMs: 3_600_000,
    isForced: false,
    env: {},
    runtime: systemRuntime,
    logger: silentLogger,
    ...extra,
  });
  const start = (extra: Partial<DevIdentityOptions> = {}): IdentitySource => {
    const source = createDevIdentity(options(extra));
    sources.push(source);
    return source;
  };

  it('[row 19] gives racing processes one authority', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, (_, i) => start({ service: `s${i}` }).ready()));
    const roots = new Set(
      all.map((one) =>
        one.bundles
          .get('dev.local')
          ?.authorities.map((der) => der.toString('hex'))
          .join(),
      ),
    );
    expect(roots.size).toBe(1);
    expect((await readdir(join(dir, 'dev.local'))).sort()).toEqual(['ca-1.key', 'ca.crt']);
    expect((await stat(join(dir, 'dev.local'))).mode & 0o777).toBe(0o700);
    expect((await stat(join(dir, 'dev.local', 'ca-1.key'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(dir, 'dev.local', 'ca.crt'))).mode & 0o777).toBe(0o644);
  });

  it('writes nothing any more when it is closed, however early that is', async () => {
    for (let i = 0; i < 20; i++) {
      const own = join(dir, `early-${i}`);
      const source = createDevIdentity(options({ dir: own }));
      for (let turn = 0; turn < i; turn++) await new Promise(setImmediate);
      await source.close();
      await rm(own, { recursive: true, force: true });
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      expect(await readdir(dir)).toEqual([]);
    }
  });

  it('issues an SVID with DNS names beside the one URI', async () => {
    const { svid } = await start({ dnsNames: ['shop.test'] }).ready();
    const leaf = new X509Certificate(svid.certPem);
    expect(leaf.subjectAltName).toBe(
      'URI:spiffe://dev.local/ns/default/sa/web, DNS:web, DNS:web.default, DNS:localhost, DNS:shop.test',
    );
    const root = new X509Certificate(await readFile(join(dir, 'dev.local', 'ca.crt')));
    expect(leaf.verify(root.publicKey)).toBe(true);
    expect(svid.notAfterMs - svid.notBeforeMs).toBe(3_660_000);
  });

  it.each([{ NODE_ENV: 'production' }, { KUBERNETES_SERVICE_HOST: '10.0.0.1' }])(
    '[row 29] refuses production, told by %o',
    async (env) => {
      await expect(start({ env }).ready()).rejects.toMatchObject({ code: 'INMESH_ERR_DEV_CA_REFUSED' });
      await expect(mintDevSvid(options({ env }))).rejects.toMatchObject({
        code: 'INMESH_ERR_DEV_CA_REFUSED',
      });
      expect(await readdir(dir)).toEqual([]);
      await expect(start({ env, isForced: true }).ready()).resolves.toMatchObject({ origin: 'dev-ca' });
    },
  );

  it('[row 18] refuses a key that others may read, and one behind a link', async () => {
    await start().ready();
    const key = join(dir, 'dev.local', 'ca-1.key');
    await chmod(key, 0o640);
    await expect(start().ready()).rejects.toMatchObject({ code: 'INMESH_ERR_DEV_CA_UNSAFE' });
    await chmod(key, 0o600);
    await chmod(join(dir, 'dev.local'), 0o755);
    await expect(start().ready()).rejects.toMatchObject({ code: 'INMESH_ERR_DEV_CA_UNSAFE' });
    await chmod(join(dir, 'dev.local'), 0o700);
    await writeFile(join(dir, 'other'), await readFile(key), { mode: 0o600 });
    await rm(key);
    await symlink(join(dir, 'other'), key);
    const error = await start()
      .ready()
      .catch((reason: unknown) => reason as MeshError);
    expect((error as MeshError).message).toContain('symbolic link');
  });

  it.each(['garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'])(
    'refuses a key file with garbage: %s',
    async (text) => {
      await start().ready();
      await writeFile(join(dir, 'dev.local', 'ca-1.key'), text, { mode: 0o600 });
      await expect(start().ready()).rejects.toHaveProperty(
        'code',
        expect.stringMatching(/^INMESH_ERR_(DEV_CA_UNSAFE|CERTIFICATE_INVALID)$/),
      );
    },
  );

  it('says loudly when nobody will share its authority', async () => {
    await writeFile(join(dir, 'file'), '');
    const lines: string[] = [];
    const source = start({
      dir: join(dir, 'file'),
      logger: { ...silentLogger, warn: (_fields, message) => lines.push(message) },
    });
    await expect(source.ready()).resolves.toMatchObject({ origin: 'dev-ca' });
    expect(lines.join()).toContain('NO OTHER PROCESS WILL TRUST');
    await expect(mintDevSvid(options({ dir: join(dir, 'file') }))).rejects.toMatchObject({
      code: 'INMESH_ERR_DEV_CA_UNSAFE',
    });
  });

  /** Resolves with the first state that passes. */
  const until = (
    source: IdentitySource,
    passes: (state: IdentitySource['state']) => boolean,
  ): Promise<void> =>
    new Promise((resolve) => {
      source.subscribe((state) => {
        if (passes(state)) resolve();
      });
    });

  it('keeps its identity through a directory that cannot be used for a while, and tries again', async () => {
    const runtime = createManualRuntime();
    const warned: string[] = [];
    const source = start({
      runtime,
      ttlMs: 20_000,
      logger: { ...silentLogger, warn: (_fields, message) => warned.push(message) },
    });
    const first = await source.ready();
    // A file where the directory was: the mode would not stop root.
    const [place, aside] = [join(dir, 'dev.local'), join(dir, 'aside')];
    await rename(place, aside);
    await writeFile(place, '');
    const hasFailed = until(source, (state) => state.kind === 'ready' && state.error !== undefined);
    await runtime.advance(11_000);
    await hasFailed;
    expect(source.rotations.svid.failure).toBeGreaterThan(0);
    expect(source.state).toMatchObject({ error: { code: 'INMESH_ERR_DEV_CA_UNSAFE' } });
    expect(source.current().svid.serial).toBe(first.svid.serial);
    await rm(place);
    await rename(aside, place);
    const isRenewed = until(source, (state) => state.kind === 'ready' && state.value.generation === 2);
    await runtime.advance(3000);
    await isRenewed;
    expect(source.rotations).toMatchObject({ svid: { success: 1 }, root: { success: 0, failure: 0 } });
    expect(source.current().trustEpoch).toBe(first.trustEpoch);
    expect(source.current().bundles).toEqual(first.bundles);
    expect(warned).toEqual([]);
  });

  it('renews without writing when the authority stays', async () => {
    const runtime = createManualRuntime();
    const source = start({ runtime, ttlMs: 20_000 });
    await source.ready();
    const place = join(dir, 'dev.local');
    const before = await stat(join(place, 'ca.crt'));
    const isRenewed = until(source, (state) => state.kind === 'ready' && state.value.generation === 2);
    await runtime.advance(11_000);
    await isRenewed;
    const after = await stat(join(place, 'ca.crt'));
    expect([after.ino, after.mtimeMs]).toEqual([before.ino, before.mtimeMs]);
  });

  it('renews at half of the lifetime', async () => {
    const runtime = createManualRuntime();
    const source = start({ runtime, ttlMs: 20_000 });
    const first = await source.ready();
    await runtime.advance(9_000);
    expect(source.current().generation).toBe(1);
    await runtime.advance(2_000);
    const second = await new Promise<number>((resolve) => {
      source.subscribe(
        (state) => state.kind === 'ready' && state.value.generation === 2 && resolve(state.value.generation),
      );
    });
    expect(second).toBe(2);
    expect(source.current().svid.serial).not.toBe(first.svid.serial);
    expect(source.current().trustEpoch).toBe(first.trustEpoch);
  });

  it('brings in a successor of the authority before the old one expires, and signs with it only then', async () => {
    const before = createManualRuntime();
    const young = await mintDevSvid(options({ runtime: before }));
    const later = createManualRuntime({ wallMs: 1_700_000_000_000 + 25 * dayMs });
    const both = await mintDevSvid(options({ runtime: later }));
    expect(both.bundlePem.match(/BEGIN/g)).toHaveLength(2);
    expect(both.bundlePem.startsWith(young.bundlePem)).toBe(true);
    expect(new X509Certificate(both.certPem).verify(new X509Certificate(young.bundlePem).publicKey)).toBe(
      true,
    );
    const end = await mintDevSvid(
      options({ runtime: createManualRuntime({ wallMs: 1_700_000_000_000 + 31 * dayMs }) }),
    );
    expect(end.bundlePem).not.toContain(young.bundlePem);
    expect(end.bundlePem.match(/BEGIN/g)).toHaveLength(1);
  });
});
