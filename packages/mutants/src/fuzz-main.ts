import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { configTargets } from './fuzz/config-targets.js';
import { headerTargets } from './fuzz/header-targets.js';
import { identityTargets } from './fuzz/identity-targets.js';
import { runTarget } from './fuzz/run-target.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '30' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    target: { type: 'string' },
  },
});
const seconds = Number(values.seconds);
const seed = Number(values.seed);
if (!(seconds > 0) || !Number.isInteger(seed))
  throw new Error('--seconds takes a number above 0, --seed a whole number');
const targets = [...headerTargets, ...(await identityTargets()), ...configTargets];

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** A process for each: one that hangs is ended, and said. */
function runAll(): number {
  print(`seed ${seed}, ${seconds} s for each of ${targets.length} parsers`);
  const failed = targets.filter(({ name }) => {
    const args = [fileURLToPath(import.meta.url), '--target', name];
    const { status, signal } = spawnSync(
      process.execPath,
      [...args, '--seconds', String(seconds), '--seed', String(seed)],
      { stdio: 'inherit', timeout: (seconds * 4 + 60) * 1000, killSignal: 'SIGKILL' },
    );
    if (signal !== null) print(`${name}: HANGS (seed ${seed})`);
    return status !== 0;
  });
  return failed.length;
}

function runOne(name: string): number {
  const one = targets.find((candidate) => candidate.name === name);
  if (one === undefined)
    throw new Error(`no parser is called '${name}': ${targets.map((known) => known.name).join(', ')}`);
  const { inputs, failure } = runTarget(one, seconds, seed);
  print(
    `${name}: ${inputs} inputs, ${failure === undefined ? 'kept' : `BROKEN (seed ${seed}) by ${failure}`}`,
  );
  return failure === undefined ? 0 : 1;
}

process.exitCode = (values.target === undefined ? runAll() : runOne(values.target)) === 0 ? 0 : 1;
