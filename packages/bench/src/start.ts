import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Material } from './protocol.js';
import { Role, Side } from './roles.js';
import { costRow, type Row } from './row.js';
import { quantile } from './statistics.js';
import { contestant } from './suites.js';

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
  const { role: server, hello } = await Role.start('server', {
    material,
    variant: 'mesh-one',
    wire: 'http',
    policies: 100,
    ports: [],
  });
  const env = {
    INMESH_SERVICE_NAME: 'client',
    INMESH_UPSTREAM_SERVER: `127.0.0.1:${hello.ports?.[0] ?? 0}`,
    INMESH_LOG_LEVEL: 'off',
  };
  const files = {
    INMESH_CERT_FILE: material.cert,
    INMESH_KEY_FILE: material.key,
    INMESH_CA_FILE: material.bundle,
  };
  const runsOf = {
    undici: () => cpuOf('undici', {}),
    inmesh: () => cpuOf('inmesh', {}),
    files: () => cpuOf('ready', { ...env, ...files }),
    dev: () => cpuOf('ready', { ...env, INMESH_DEV_CA_DIR: material.caDir }),
  };
  const samples = new Map<string, number[]>();
  try {
    for (let i = 0; i < runs; i++) {
      for (const [name, run] of Object.entries(runsOf))
        samples.set(name, [...(samples.get(name) ?? []), await run()]);
    }
  } finally {
    server.stop();
  }
  const of = (name: keyof typeof runsOf): number => quantile(samples.get(name) ?? [], 0.2);
  const ratioOf = (name: 'dev' | 'files'): Row => {
    const ratio = of(name) / of('undici');
    return {
      name: name === 'files' ? 'import' : 'import.dev',
      ratio,
      baseline: 'importing undici',
      load: `ready and a first call, identity from ${name}: ${of(name).toFixed(0)} ms, undici ${of('undici').toFixed(0)} ms`,
      ...(name === 'files' ? { goal: 2, state: ratio <= 2 ? 'proven' : 'missed' } : {}),
    };
  };
  return [costRow('import.cpu', of('inmesh'), 'ms', 40), ratioOf('files'), ratioOf('dev')];
}

/** Memory of a server that holds idle mTLS connections. */
export async function memory(material: Material, connections: number): Promise<readonly Row[]> {
  const rss: number[] = [];
  for (const variant of ['bare', 'mesh-one'] as const) {
    const side = await Side.start(contestant(variant), material, 1000);
    try {
      await side.client.ask({ kind: 'hold', connections });
      await side.server.memory();
      rss.push((await side.server.memory()).rssBytes / 1_048_576);
    } finally {
      side.stop();
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
