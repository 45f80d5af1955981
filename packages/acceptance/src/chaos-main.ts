// `npm run chaos -- --seconds 60 --seed 1`
import { parseArgs } from 'node:util';
import { judgeChaos, printChaos, runChaos } from './chaos.js';
import { Bench, stopDemo } from './harness.js';
import { prepare } from './prepare.js';

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
const seconds = Number(values.seconds ?? 60);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
process.stdout.write(`chaos: ${seconds} s, seed ${seed}\n`);
const bench = new Bench();
let hasFailed = true;
try {
  const report = await runChaos(await prepare(bench), { seconds, seed });
  process.stdout.write(`${printChaos(report)}\n`);
  judgeChaos(report);
  hasFailed = false;
  process.stdout.write('✓ zeroes where zeroes are due\n');
} catch (error) {
  process.stdout.write(`✗ ${error instanceof Error ? error.message : String(error)}\n`);
} finally {
  await bench.close(hasFailed);
  await stopDemo();
}
process.exitCode = hasFailed ? 1 : 0;
