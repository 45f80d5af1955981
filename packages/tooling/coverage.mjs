// Prints what the tests of each package run of its source, as V8 counts. A figure to look at, not a gate: covered is not
// checked, which is what the mutants are for.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const packages = join(root, 'packages');
const chosen = process.argv.slice(2);
const names = readdirSync(packages).filter(
  (name) =>
    (chosen.length === 0 || chosen.includes(name)) &&
    existsSync(join(packages, name, 'test')) &&
    existsSync(join(packages, name, 'src')),
);
const unknown = chosen.filter((name) => !names.includes(name));
if (unknown.length > 0) throw new Error(`no package with tests is called ${unknown.join(', ')}`);
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const options = ['--config', '../tooling/vitest.config.ts', '--reporter', 'dot'];
const coverage = [
  '--coverage.enabled',
  '--coverage.provider=v8',
  '--coverage.reporter=text',
  '--coverage.include=src/**',
];
for (const name of names) {
  process.stdout.write(`\n${name}\n`);
  const { status } = spawnSync(process.execPath, [vitest, 'run', ...options, ...coverage], {
    cwd: join(packages, name),
    stdio: 'inherit',
  });
  // The table of tests that fail says nothing.
  if (status !== 0) process.exitCode = 1;
}
