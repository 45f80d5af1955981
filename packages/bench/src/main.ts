import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { silentLogger, systemRuntime } from '@inmesh/core';
import { mintDevSvid } from '@inmesh/identity';
import { compare, type Effort, type LoadRatios, type Material, type Row, ratioRow } from './compare.js';
import { micro } from './micro.js';
import type { Slice } from './protocol.js';
import { isPinned } from './roles.js';
import { memory, start } from './start.js';
import { estimate } from './statistics.js';

const suites = ['noise', 'http', 'grpc', 'micro', 'start', 'memory'] as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    quick: { type: 'boolean' },
    pairs: { type: 'string' },
    gate: { type: 'boolean' },
  },
});
const wanted = new Set(positionals.length === 0 ? suites : positionals);
const effort: Effort = values.quick
  ? { pairs: Number(values.pairs ?? 2), rounds: 4, sliceMs: 250, warm: 4000 }
  : { pairs: Number(values.pairs ?? 5), rounds: 8, sliceMs: 300, warm: 12_000 };

async function prepare(dir: string): Promise<Material> {
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
  return { caDir, ...files };
}

const loads = new Map<string, Slice['load']>([
  ['r1500', { rate: 1500 }],
  ['c1', { concurrency: 1 }],
  ['c16', { concurrency: 16 }],
  ['c64', { concurrency: 64 }],
]);

function worst(
  ratios: ReadonlyMap<string, LoadRatios>,
  names: readonly string[],
  key: keyof LoadRatios,
): { readonly name: string; readonly values: readonly number[] } {
  const candidates = names.map((name) => ({ name, values: ratios.get(name)?.[key] ?? [] }));
  return candidates.reduce((a, b) => (estimate(b.values).ratio > estimate(a.values).ratio ? b : a));
}

async function http(material: Material): Promise<readonly Row[]> {
  const ratios = await compare('http', loads, material, effort);
  const of = (name: string): LoadRatios => ratios.get(name) ?? { cpu: [], p50: [], throughput: [] };
  const cpu = worst(ratios, ['c16', 'c64'], 'cpu');
  const p50 = worst(ratios, ['r1500', 'c1'], 'p50');
  const fetches = await compare('fetch', new Map([['c16', { concurrency: 16 }]]), material, effort);
  return [
    ratioRow('http.cpu', cpu.values, cpu.name, 1.2),
    ratioRow('http.cpu.r1500', of('r1500').cpu, 'r1500', 1.1),
    ratioRow('http.cpu.c1', of('c1').cpu, 'c1', 1.1),
    ratioRow('http.cpu.c16', of('c16').cpu, 'c16', 1.2),
    ratioRow('http.cpu.c64', of('c64').cpu, 'c64', 1.2),
    ratioRow('http.p50', p50.values, p50.name),
    ratioRow('http.throughput64', of('c64').throughput, 'c64', 0.85, true),
    ratioRow('fetch.cpu', fetches.get('c16')?.cpu ?? [], 'c16'),
  ];
}

async function grpc(material: Material): Promise<readonly Row[]> {
  const ratios = await compare(
    'grpc',
    new Map<string, Slice['load']>([
      ['r800', { rate: 800 }],
      ['c16', { concurrency: 16 }],
    ]),
    material,
    effort,
  );
  return [
    ratioRow('grpc.cpu', ratios.get('c16')?.cpu ?? [], 'c16', 1.15),
    ratioRow('grpc.cpu.r800', ratios.get('r800')?.cpu ?? [], 'r800', 1.15),
  ];
}

function print(row: Row): void {
  const value =
    row.ratio === undefined ? `${(row.value ?? 0).toFixed(1)} ${row.unit ?? ''}` : `${row.ratio.toFixed(3)}×`;
  const interval = row.ci90 === undefined ? '' : `[${row.ci90.map((one) => one.toFixed(3)).join(', ')}]`;
  const goal =
    row.goal === undefined ? '' : `goal ${row.name.includes('throughput') ? '≥' : '≤'} ${row.goal}`;
  process.stdout.write(
    `${row.name.padEnd(20)} ${value.padStart(12)}  ${interval.padEnd(16)}  ${goal.padEnd(12)} ${(row.state ?? '').padEnd(7)} ${row.load ?? ''}\n`,
  );
}

const dir = mkdtempSync(join(tmpdir(), 'inmesh-bench-'));
const rows: Row[] = [];
let detectable = 0;
try {
  const material = await prepare(dir);
  const machine = { cpu: cpus()[0]?.model ?? '', cores: cpus().length, load: loadavg()[0] ?? 0, isPinned };
  process.stdout.write(
    `node ${process.version}, ${machine.cores} × ${machine.cpu}, load ${machine.load.toFixed(1)}, ${isPinned ? 'server and client on a core each' : 'not pinned: no taskset or one core'}\n`,
  );
  const run = async (name: string, suite: () => Promise<readonly Row[]> | readonly Row[]): Promise<void> => {
    if (!wanted.has(name)) return;
    for (const row of await suite()) {
      rows.push(row);
      print(row);
    }
  };
  await run('noise', async () => {
    const ratios = await compare('http', new Map([['c16', { concurrency: 16 }]]), material, effort, 'bare');
    const row = ratioRow('noise', ratios.get('c16')?.cpu ?? [], 'bare against bare, c16');
    detectable = Math.max(...(row.ci90 ?? [1, 1]).map((one) => Math.abs(one - 1)));
    return [row];
  });
  await run('http', () => http(material));
  await run('grpc', () => grpc(material));
  await run('micro', micro);
  await run('start', () => start(material, values.quick ? 3 : 9));
  await run('memory', () => memory(material, 1000));
  if (detectable > 0)
    process.stdout.write(`smallest difference this run can see: ${(detectable * 100).toFixed(1)} %\n`);
  if (values.json !== undefined)
    writeFileSync(
      values.json,
      `${JSON.stringify({ machine, node: process.version, noise: { detectable }, results: rows }, null, 2)}\n`,
    );
} finally {
  rmSync(dir, { recursive: true, force: true });
}
// A generous gate for a short run on a noisy machine: only what is far beyond its goal fails.
const far = rows.filter(
  ({ ratio, goal, name }) =>
    ratio !== undefined && goal !== undefined && !name.includes('throughput') && ratio > goal * 1.5,
);
if (values.gate && far.length > 0) {
  process.stdout.write(`far beyond the goal: ${far.map(({ name }) => name).join(', ')}\n`);
  process.exitCode = 1;
}
