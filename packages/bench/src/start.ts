import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Material, Row } from './compare.js';
import { Role, startSide } from './roles.js';
import { quantile } from './statistics.js';

const script = fileURLToPath(new URL('start-process.js', import.meta.url));

function cpuOf(what: string, env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--no-warnings', script, what],
      { env: { PATH: process.env['PATH'], ...env } },
      (error, stdout) => (error ? reject(error) : resolve(Number(stdout) / 1000)),
    );
  });
}

/** CPU of importing us, and of being ready from the environment with a first call, against importing undici. */
export async function start(material: Material, runs: number): Promise<readonly Row[]> {
  const { role: server, first } = await Role.start(
    'server',
    { ...material, variant: 'mesh', wire: 'http', policies: 100 },
    1,
  );
  const env = {
    INMESH_SERVICE_NAME: 'client',
    INMESH_DEV_CA_DIR: material.caDir,
    INMESH_UPSTREAM_SERVER: `127.0.0.1:${first.port ?? 0}`,
    INMESH_LOG_LEVEL: 'off',
  };
  const samples = { undici: [] as number[], inmesh: [] as number[], ready: [] as number[] };
  try {
    for (let i = 0; i < runs; i++) {
      for (const what of ['undici', 'inmesh', 'ready'] as const) samples[what].push(await cpuOf(what, env));
    }
  } finally {
    server.stop();
  }
  const [undici, inmesh, ready] = [samples.undici, samples.inmesh, samples.ready].map((one) =>
    quantile(one, 0.2),
  );
  const ratio = (ready ?? 0) / (undici ?? 1);
  return [
    {
      name: 'import.cpu',
      value: inmesh ?? 0,
      unit: 'ms',
      goal: 40,
      state: (inmesh ?? 0) <= 40 ? 'proven' : 'missed',
    },
    {
      name: 'import',
      ratio,
      baseline: 'importing undici',
      goal: 2,
      load: `ready and a first call: ${(ready ?? 0).toFixed(0)} ms, undici ${(undici ?? 0).toFixed(0)} ms`,
      state: ratio <= 2 ? 'proven' : 'missed',
    },
  ];
}

/** Memory of a server that holds idle mTLS connections. */
export async function memory(material: Material, connections: number): Promise<readonly Row[]> {
  const rss: number[] = [];
  for (const variant of ['bare', 'mesh'] as const) {
    const { server, client } = await startSide({ ...material, variant, wire: 'http', policies: 100 }, 1000);
    try {
      await client.ask({ kind: 'hold', connections });
      await server.usage();
      rss.push((await server.usage()).rssBytes / 1_048_576);
    } finally {
      client.stop();
      server.stop();
    }
  }
  const [bare = 1, mesh = 0] = rss;
  const ratio = mesh / bare;
  return [
    {
      name: 'memory',
      ratio,
      baseline: 'bare',
      goal: 1.2,
      load: `${connections} connections: ${mesh.toFixed(0)} MiB, bare ${bare.toFixed(0)} MiB`,
      state: ratio <= 1.2 ? 'proven' : 'missed',
    },
  ];
}
