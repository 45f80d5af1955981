import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isPinned } from './children.js';
import type { Effort } from './compare.js';
import { driver } from './driver.js';
import { prepare } from './material.js';
import { micro } from './micro.js';
import { peers } from './peers/peers.js';
import { failures, line } from './report.js';
import type { Row } from './row.js';
import { scale } from './scale.js';
import { soak } from './soak.js';
import { memory, start } from './start.js';
import { grpc, http, noise } from './suites.js';

const suites = ['noise', 'http', 'grpc', 'micro', 'start', 'memory', 'peers', 'scale', 'soak'] as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    quick: { type: 'boolean' },
    pairs: { type: 'string' },
    gate: { type: 'boolean' },
    seconds: { type: 'string' },
  },
});
const unknown = positionals.filter((name) => !(suites as readonly string[]).includes(name));
if (unknown.length > 0) {
  process.stderr.write(`there is no suite "${unknown.join(', ')}"; there are ${suites.join(', ')}\n`);
  process.exit(2);
}
// A soak takes ten minutes: it is asked for.
const wanted = new Set<string>(
  positionals.length === 0 ? suites.filter((one) => one !== 'soak') : positionals,
);
const effort: Effort = values.quick
  ? { pairs: Number(values.pairs ?? 2), rounds: 4, sliceMs: 250, warm: 10_000 }
  : { pairs: Number(values.pairs ?? 5), rounds: 8, sliceMs: 300, warm: 12_000 };

const dir = mkdtempSync(join(tmpdir(), 'inmesh-bench-'));
const machine = { cpu: cpus()[0]?.model ?? '', cores: cpus().length, load: loadavg()[0] ?? 0, isPinned };
const rows: Row[] = [];
let detectable = 0;

async function run(name: string, suite: () => Promise<readonly Row[]>): Promise<void> {
  if (!wanted.has(name)) return;
  for (const row of await suite()) {
    rows.push(row);
    process.stdout.write(line(row));
  }
}

try {
  const material = await prepare(dir);
  process.stdout.write(
    `node ${process.version}, ${machine.cores} × ${machine.cpu}, load ${machine.load.toFixed(1)}, ${isPinned ? 'server and client on a core each' : 'not pinned: no taskset or one core'}\n`,
  );
  await run('noise', async () => {
    const row = await noise(material, effort);
    detectable = Math.max(...(row.ci90 ?? [1, 1]).map((one) => Math.abs(one - 1)));
    return [row];
  });
  await run('http', () => http(material, effort));
  await run('grpc', () => grpc(material, effort));
  await run('micro', async () => [...micro(), ...(await driver())]);
  await run('start', () => start(material, values.quick ? 3 : 9));
  await run('memory', () => memory(material, 1000));
  // Libraries take longer to warm than we do; half warm they would look dearer than they are.
  await run('peers', () => peers(material, { ...effort, warm: Math.max(effort.warm, 20_000) }));
  await run('scale', () => scale(material));
  await run('soak', () => soak(material, Number(values.seconds ?? (values.quick ? 60 : 600))));
} finally {
  rmSync(dir, { recursive: true, force: true });
}
if (detectable > 0)
  process.stdout.write(`smallest difference this run can see: ${(detectable * 100).toFixed(1)} %\n`);
if (values.json !== undefined)
  writeFileSync(
    values.json,
    `${JSON.stringify({ machine, node: process.version, noise: { detectable }, results: rows }, null, 2)}\n`,
  );
const failed = values.gate ? failures(rows, detectable) : [];
if (failed.length > 0) {
  process.stdout.write(`beyond the gate: ${failed.map(({ name }) => name).join(', ')}\n`);
  process.exitCode = 1;
}
const skipped = rows.filter(({ state }) => state === 'skipped').map(({ name }) => name);
if (skipped.length > 0 && positionals.includes('peers') && process.env['REQUIRE_INTEROP'] === '1') {
  process.stdout.write(`REQUIRE_INTEROP=1, but skipped: ${skipped.join(', ')}\n`);
  process.exitCode = 1;
}
