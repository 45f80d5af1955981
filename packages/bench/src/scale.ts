import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Material } from './protocol.js';
import { costRow, type Row } from './row.js';
import { memory } from './start.js';

const script = fileURLToPath(new URL('scale-process.js', import.meta.url));

function ask(question: string, size: number): Promise<number> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--no-warnings', '--expose-gc', script, question, String(size)],
      (error, stdout) => (error ? reject(error) : resolve(Number(stdout))),
    );
  });
}

/** A curve: what something costs as the number of something grows. */
interface Curve {
  readonly question: string;
  readonly unit: string;
  readonly goal: number;
  /** What fails a build, where the goal is not met yet. */
  readonly gate?: number;
  readonly what: string;
  readonly sizes: readonly number[];
}

const curves: readonly Curve[] = [
  { question: 'pick', unit: 'ns', goal: 150, what: 'endpoints', sizes: [3, 30, 300, 3000, 10_000] },
  { question: 'endpoint.bytes', unit: 'B', goal: 1024, what: 'endpoints, each', sizes: [100, 1000, 10_000] },
  { question: 'endpoint.update', unit: 'ms', goal: 5, what: 'endpoints, one moves', sizes: [30, 300, 1000] },
  {
    question: 'policy.compile',
    unit: 'ms',
    goal: 200,
    gate: 2000,
    what: 'policies',
    sizes: [10, 100, 1000, 10_000],
  },
  { question: 'policy.memory', unit: 'MiB', goal: 20, what: 'policies', sizes: [1000, 10_000] },
  { question: 'cluster.lookup', unit: 'ns', goal: 150, what: 'clusters', sizes: [1, 100, 10_000] },
  { question: 'cluster.bytes', unit: 'B', goal: 2048, what: 'clusters in use, each', sizes: [100, 10_000] },
  { question: 'cluster.change', unit: 'ms', goal: 5, what: 'clusters, one changes', sizes: [1, 100, 10_000] },
  { question: 'layer.phase', unit: 'ns', goal: 15, what: 'layers of three phases', sizes: [1, 10, 50] },
  {
    question: 'series.bytes',
    unit: 'B',
    goal: 512,
    what: 'histograms of 20 buckets, each',
    sizes: [100, 2000],
  },
  {
    question: 'series.scrape',
    unit: 'ms',
    goal: 10,
    what: 'histograms, longest block of a scrape',
    sizes: [100, 2000],
  },
];

/** Curves of what grows: endpoints, policies, clusters, layers, series, connections. */
export async function scale(material: Material): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const { question, unit, goal, gate, what, sizes } of curves)
    for (const size of sizes)
      rows.push({
        ...costRow(`scale.${question}.${size}`, await ask(question, size), unit, goal, `${size} ${what}`),
        ...(gate === undefined ? {} : { gate }),
      });
  for (const connections of [16, 256])
    rows.push(
      ...(await memory(material, connections)).map((row) => ({
        ...row,
        name: `scale.memory.${connections}`,
      })),
    );
  return rows;
}
