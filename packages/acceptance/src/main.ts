import { judgeChaos, printChaos, runChaos } from './chaos.js';
import type { Line } from './context.js';
import { Bench, Skip, stopDemo } from './harness.js';
import { collected } from './line-collector.js';
import { interop } from './line-interop.js';
import { bigBodies, streamedBodies } from './lines-bodies.js';
import { boundedRetries } from './lines-budget.js';
import { configuration } from './lines-config.js';
import { spellingsOfAdmin, spoofedIdentity } from './lines-frameworks.js';
import { queuedCalls, relayedHeaders, travellingDeadline } from './lines-hops.js';
import {
  changedPolicy,
  environmentAlone,
  onePort,
  slowClients,
  strictAndPermissive,
  webSockets,
  whoMay,
} from './lines-http.js';
import { countsOfOthers, scrapes } from './lines-metrics.js';
import { rollingRestarts } from './lines-restart.js';
import { ownNames, rotation, versionsAndSessions, wrongCertificates } from './lines-tls.js';
import { traces } from './lines-traces.js';
import { bigFailures, fastFailure, killedReplica, longStreams } from './lines-traffic.js';
import { prepare } from './prepare.js';

const chaosSeconds = Number(process.env['CHAOS_SECONDS'] ?? 60);

const chaos: Line = {
  title: `${chaosSeconds} s of mixed load with random kills, stalls, resets and slow readers: 0 lost GETs, 0 duplicates, nothing left`,
  async run(context) {
    const seed = Number(process.env['CHAOS_SEED'] ?? Date.now() % 1_000_000);
    try {
      const report = await runChaos(context, { seconds: chaosSeconds, seed });
      judgeChaos(report);
      return `seed ${seed}: ${printChaos(report)}`;
    } catch (error) {
      if (error instanceof Skip) throw error;
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  },
};

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
  killedReplica,
  bigFailures,
  streamedBodies,
  boundedRetries,
  relayedHeaders,
  travellingDeadline,
  longStreams,
  queuedCalls,
  fastFailure,
  chaos,
  rollingRestarts,
];
/** Lines with their numbers; what is missing is not built yet. */
const numbered: readonly (readonly [number, Line])[] = [
  ...lines.map((line, index) => [index + 1, line] as const),
  [27, configuration],
  [28, countsOfOthers],
  [29, traces],
  [30, scrapes],
  [31, collected],
];

const requiresInterop = process.env['REQUIRE_INTEROP'] === '1';
const wanted = new Set(process.argv.slice(2).map(Number));

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

const bench = new Bench();
let failed = 0;
try {
  const context = await prepare(bench);
  for (const [number, line] of numbered) {
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
