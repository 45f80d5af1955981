import { mint } from './clients.js';
import type { Context, Line } from './context.js';
import { Bench, Skip, startDemo, stopDemo } from './harness.js';
import { interop } from './line-interop.js';
import {
  bigBodies,
  changedPolicy,
  environmentAlone,
  onePort,
  slowClients,
  spellingsOfAdmin,
  spoofedIdentity,
  strictAndPermissive,
  webSockets,
  whoMay,
} from './lines-http.js';
import { ownNames, rotation, versionsAndSessions, wrongCertificates } from './lines-tls.js';

const lines: readonly Line[] = [
  ownNames,
  wrongCertificates,
  versionsAndSessions,
  whoMay,
  strictAndPermissive,
  onePort,
  spellingsOfAdmin,
  spoofedIdentity,
  webSockets,
  slowClients,
  bigBodies,
  rotation,
  changedPolicy,
  environmentAlone,
  interop,
];

const requiresInterop = process.env['REQUIRE_INTEROP'] === '1';
const wanted = new Set(process.argv.slice(2).map(Number));

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function prepare(bench: Bench): Promise<Context> {
  await stopDemo();
  const fleet = await startDemo();
  const [web, admin, intruder] = await Promise.all(
    ['web', 'admin', 'intruder'].map((name) => mint(bench, fleet.caDir, name)),
  );
  if (web === undefined || admin === undefined || intruder === undefined) throw new Error('no identities');
  return {
    bench,
    fleet,
    web,
    admin,
    intruder,
    service(name) {
      const found = fleet.services.find((one) => one.name === name);
      if (found === undefined) throw new Error(`the demo has no ${name}`);
      return found;
    },
  };
}

const bench = new Bench();
let failed = 0;
try {
  const context = await prepare(bench);
  for (const [index, line] of lines.entries()) {
    const number = index + 1;
    if (wanted.size > 0 && !wanted.has(number)) continue;
    const start = performance.now();
    try {
      const seen = await line.run(context);
      print(
        `${String(number).padStart(2)}. ✓ ${line.title}\n       ${seen} (${((performance.now() - start) / 1000).toFixed(1)} s)`,
      );
    } catch (error) {
      const isSkip = error instanceof Skip;
      if (!isSkip || requiresInterop) failed++;
      print(
        isSkip
          ? `${String(number).padStart(2)}. SKIP ${line.title}: ${error.message}`
          : `${String(number).padStart(2)}. ✗ ${line.title}\n       ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
} finally {
  await bench.close(failed > 0);
  await stopDemo();
}
if (failed > 0) print(`\n${failed} failed; what was written is in ${bench.dir}`);
process.exitCode = failed > 0 ? 1 : 0;
