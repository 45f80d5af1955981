import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drive, type Tally } from './drive.js';
import { type Fleet, FleetStarter, stopAll } from './fleet.js';
import { renderHops, renderPage, renderTally, renderTopology } from './render.js';

const { values } = parseArgs({
  options: {
    detach: { type: 'boolean' },
    json: { type: 'boolean' },
    stop: { type: 'boolean' },
    seconds: { type: 'string' },
  },
});
const stateFile = join(tmpdir(), `inmesh-demo-${userInfo().uid}.json`);

interface State extends Fleet {
  readonly dir: string;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function stop(): Promise<number> {
  let state: State;
  try {
    state = JSON.parse(readFileSync(stateFile, 'utf8')) as State;
  } catch {
    print('no demo is running');
    return 0;
  }
  await stopAll(state.services.map(({ pid }) => pid));
  rmSync(state.dir, { recursive: true, force: true });
  rmSync(stateFile, { force: true });
  print('stopped');
  return 0;
}

async function detach(dir: string): Promise<number> {
  const starter = new FleetStarter(dir, true);
  const fleet = await starter.startAll();
  starter.close();
  writeFileSync(stateFile, JSON.stringify({ ...fleet, dir }), { mode: 0o600 });
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
    if (last !== undefined) print(`\n${renderHops(last)}`);
    print(failures.length === 0 ? '\n  ✓ every expectation held' : `\n  ✗ ${failures.join('\n  ✗ ')}`);
    return failures.length === 0 ? 0 : 1;
  } finally {
    page.close();
    page.closeAllConnections();
    await stopAll(starter.children.flatMap(({ pid }) => (pid === undefined ? [] : [pid])));
    starter.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

if (values.stop) process.exitCode = await stop();
else {
  const dir = mkdtempSync(join(tmpdir(), 'inmesh-demo-'));
  process.exitCode = values.detach ? await detach(dir) : await run(dir);
}
