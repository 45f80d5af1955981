import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger, systemRuntime } from '@inmesh/core';
import { mintDevSvid } from '@inmesh/identity';
import type { IdentityFiles, Material } from './protocol.js';

/** Mints for `service` and writes it where Inmesh, OpenSSL and proxies can read it. */
async function issue(dir: string, caDir: string, service: string): Promise<IdentityFiles> {
  const minted = await mintDevSvid({
    dir: caDir,
    trustDomain: 'dev.local',
    namespace: 'default',
    service,
    ttlMs: 3_600_000,
    isForced: true,
    env: {},
    runtime: systemRuntime,
    logger: silentLogger,
  });
  const files = {
    cert: join(dir, `${service}.pem`),
    key: join(dir, `${service}-key.pem`),
    bundle: join(dir, 'bundle.pem'),
  };
  writeFileSync(files.cert, minted.certPem);
  writeFileSync(files.key, minted.keyPem, { mode: 0o600 });
  writeFileSync(files.bundle, minted.bundlePem);
  return files;
}

/** Makes an authority, an identity that is good for both ends of others, and one for a server of ours. */
export async function prepare(dir: string): Promise<Material> {
  const caDir = join(dir, 'ca');
  const client = await issue(dir, caDir, 'client');
  return { dir, caDir, ...client, server: await issue(dir, caDir, 'server') };
}
