import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { drive, type Tally } from './drive.js';
import { type Fleet, FleetStarter } from './fleet.js';
import { stopAll } from './processes.js';
import { renderHops, renderPage, renderTally, renderTopology } from './render.js';
import { DemoState, dirPrefix } from './state.js';
import { renderTopologyOf } from './topology.js';

const { values } = parseArgs({
  options: {
    detach: { type: 'boolean' },
    json: { type: 'boolean' },
    stop: { type: 'boolean' },
    seconds: { type: 'string' },
  },
});
const state = new DemoState(fileURLToPath(new URL('../.state', import.meta.url)));

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function stop(): Promise<number> {
  print((await state.stop()) ? 'stopped' : 'no demo of this checkout is running');
  return 0;
}

async function detach(dir: string): Promise<number> {
  const starter = new FleetStarter(dir, true);
  let fleet: Fleet;
  try {
    fleet = await starter.startAll();
  } catch (error) {
    await stopAll(starter.processes);
    rmSync(dir, { recursive: true, force: true });
    throw error;
  } finally {
    starter.close();
  }
  state.write({ dir, processes: starter.processes });
  print(values.json ? JSON.stringify(fleet) : renderTopology(fleet));
  return 0;
}

async function run(dir: string): Promise<number> {
  const starter = new FleetStarter(dir, false);
  const seconds = Number(values.seconds ?? 10);
  let last: Tally | undefined;
  const page = createServer((_request, response) =>
    response.setHeader('content-type', 'text/html').end(renderPage(starter.fleet(), last)),
  );
  try {
    const fleet = await starter.startAll();
    await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve));
    print(renderTopology(fleet));
    print(`  page  http://127.0.0.1:${(page.address() as AddressInfo).port}/   log  ${fleet.log}\n`);
    let shownAt = 0;
    const failures = await drive(starter, seconds * 1000, (tally) => {
      last = tally;
      if (!process.stdout.isTTY || performance.now() - shownAt < 200) return;
      if (shownAt > 0) process.stdout.write(`\u001B[${renderTally(tally).split('\n').length}A`);
      shownAt = performance.now();
      print(renderTally(tally));
    });
    if (!process.stdout.isTTY && last !== undefined) print(renderTally(last));
    if (last !== undefined) print(`\n${renderHops(last)}\n\n${renderTopologyOf(last.topology)}`);
    print(failures.length === 0 ? '\n  ✓ every expectation held' : `\n  ✗ ${failures.join('\n  ✗ ')}`);
    return failures.length === 0 ? 0 : 1;
  } finally {
    page.close();
    page.closeAllConnections();
    await stopAll(starter.processes);
    starter.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

if (values.stop) process.exitCode = await stop();
else if (values.detach && state.isRunning()) {
  process.stderr.write('a demo of this checkout is running; end it with --stop\n');
  process.exitCode = 1;
} else {
  const dir = mkdtempSync(join(tmpdir(), dirPrefix));
  process.exitCode = values.detach ? await detach(dir) : await run(dir);
}
