import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { configTargets } from './fuzz/config-targets.js';
import { dnsTargets } from './fuzz/dns-targets.js';
import { headerTargets } from './fuzz/header-targets.js';
import { identityTargets } from './fuzz/identity-targets.js';
import { pemTargets } from './fuzz/pem-targets.js';
import { runTarget } from './fuzz/run-target.js';
import { sniffTargets } from './fuzz/sniff-targets.js';
import type { Target } from './fuzz/target.js';
import { telemetryTargets } from './fuzz/telemetry-targets.js';
import { wireTargets } from './fuzz/wire-targets.js';

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
const targets: readonly Target[] = [
  ...headerTargets,
  ...identityTargets,
  ...(await pemTargets()),
  ...configTargets,
  ...dnsTargets,
  ...telemetryTargets,
  ...sniffTargets,
  ...wireTargets(),
];

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** A process for each: one that hangs is ended, and said. @returns whether it kept its promises */
async function runApart({ name }: Target): Promise<boolean> {
  const args = [fileURLToPath(import.meta.url), '--target', name];
  const child = spawn(process.execPath, [...args, '--seconds', String(seconds), '--seed', String(seed)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: (seconds * 4 + 60) * 1000,
    killSignal: 'SIGKILL',
  });
  // In one piece at the end, since others run beside it.
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => void (said += text));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  process.stdout.write(said);
  if (signal !== null) print(`${name}: HANGS or was ended, ${signal} (seed ${seed})`);
  else if (code !== 0 && !said.includes('BROKEN')) print(`${name}: CRASHED with ${code} (seed ${seed})`);
  return code === 0;
}

/** As many at once as there are processors. */
async function runAll(): Promise<number> {
  const processors = availableParallelism();
  print(`seed ${seed}, ${seconds} s for each of ${targets.length} parsers, ${processors} at a time`);
  let failed = 0;
  const waiting = targets.values();
  const work = async (): Promise<void> => {
    for (const one of waiting) if (!(await runApart(one))) failed++;
  };
  await Promise.all(Array.from({ length: processors }, work));
  print(`${targets.length - failed} kept, ${failed} failed`);
  return failed;
}

async function runOne(name: string): Promise<number> {
  const one = targets.find((candidate) => candidate.name === name);
  if (one === undefined)
    throw new Error(`no parser is called '${name}': ${targets.map((known) => known.name).join(', ')}`);
  const { inputs, failure } = await runTarget(one, seconds, seed);
  print(
    `${name}: ${inputs} inputs, ${failure === undefined ? 'kept' : `BROKEN (seed ${seed}) by ${failure}`}`,
  );
  return failure === undefined ? 0 : 1;
}

const failures = values.target === undefined ? await runAll() : await runOne(values.target);
process.exitCode = failures === 0 ? 0 : 1;
