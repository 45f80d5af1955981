// Runs a benchmark that is written in TypeScript, on every line of Node: bundles it, imports it, prints what its
// `report` says. Usage: node --expose-gc run-bench.mjs bench/plan.bench.ts
import { resolve } from 'node:path';
import { rolldown } from 'rolldown';

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error('usage: run-bench.mjs <file>');
const build = await rolldown({ input: resolve(file), platform: 'node' });
const { output } = await build.generate({ format: 'esm', codeSplitting: false });
await build.close();
const { report } = await import(
  `data:text/javascript;base64,${Buffer.from(output[0].code).toString('base64')}`
);
process.stdout.write(`${report()}\n`);
