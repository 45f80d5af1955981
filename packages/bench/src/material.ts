import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger, systemRuntime } from '@inmesh/core';
import { mintDevSvid } from '@inmesh/identity';
import type { Material } from './protocol.js';

/** Makes an authority and an identity that is good for both ends: its names are those of the client and `localhost`. */
export async function prepare(dir: string): Promise<Material> {
  const caDir = join(dir, 'ca');
  const minted = await mintDevSvid({
    dir: caDir,
    trustDomain: 'dev.local',
    namespace: 'default',
    service: 'client',
    ttlMs: 3_600_000,
    isForced: true,
    env: {},
    runtime: systemRuntime,
    logger: silentLogger,
  });
  const files = { cert: join(dir, 'svid.pem'), key: join(dir, 'key.pem'), bundle: join(dir, 'bundle.pem') };
  writeFileSync(files.cert, minted.certPem);
  writeFileSync(files.key, minted.keyPem, { mode: 0o600 });
  writeFileSync(files.bundle, minted.bundlePem);
  return { dir, caDir, ...files };
}
