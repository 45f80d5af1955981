import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Cost } from './protocol.js';
import { costRow, countRow, type Row } from './row.js';

const script = fileURLToPath(new URL('driver-process.js', import.meta.url));
/** MiB: whatever a batch allocates stays in it until it is counted. */
const youngMib = 64;
/** Processes a question; others, and compilers that are not done yet, only add. */
const processes = 3;

function ask(question: string): Promise<Cost> {
  const flags = [
    '--no-warnings',
    '--expose-gc',
    `--min-semi-space-size=${youngMib}`,
    `--max-semi-space-size=${youngMib}`,
  ];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [...flags, script, question], (error, stdout) =>
      error ? reject(error) : resolve(JSON.parse(stdout) as Cost),
    );
  });
}

async function costOf(question: string): Promise<Cost> {
  let least = await ask(question);
  for (let i = 1; i < processes; i++) {
    const { ns, bytes } = await ask(question);
    least = { ns: Math.min(ns, least.ns), bytes: Math.min(bytes, least.bytes) };
  }
  return least;
}

/** What the client adds to a call, sockets apart; picks among many endpoints. */
export async function driver(): Promise<readonly Row[]> {
  const call = await costOf('call');
  const retried = await costOf('retried');
  const pick = await costOf('pick');
  const cycle = await costOf('cycle');
  const load = 'null transport, 3 endpoints, retries armed, deadline';
  const further = 'each further attempt';
  return [
    costRow('driver.cpu', call.ns / 1000, 'µs', 2.5, load),
    countRow('driver.bytes', call.bytes, 'B', 600, load),
    costRow('driver.attempt.cpu', (retried.ns - call.ns) / 1000, 'µs', 1, further),
    countRow('driver.attempt.bytes', retried.bytes - call.bytes, 'B', 250, further),
    costRow('pick.1000', pick.ns, 'ns', 150, '1,000 endpoints'),
    costRow('cycle.1000', cycle.ns, 'ns', 250, 'pick, start, result, end'),
  ];
}
