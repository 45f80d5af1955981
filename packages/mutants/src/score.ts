import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Workshop } from './workshop.js';

/** What a report of StrykerJS says of one mutant. */
interface ReportedMutant {
  readonly status: string;
  readonly mutatorName: string;
  readonly replacement?: string;
  readonly location: { readonly start: { readonly line: number; readonly column: number } };
}

/** The part of the report that is read. @see {@link https://github.com/stryker-mutator/mutation-testing-elements | mutation testing report schema} */
interface Report {
  readonly files: Readonly<Record<string, { readonly mutants: readonly ReportedMutant[] }>>;
}

/** Least score of each file in percent, by package: what was reached when it was set. Only ever raised. */
export type Thresholds = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What came of one file. */
export interface FileScore {
  /** Package and file. */
  readonly file: string;
  /** Share of mutants that a test noticed, in percent. */
  readonly score: number;
  /** Least that is asked. */
  readonly threshold: number;
  /** Mutants that a test noticed. */
  readonly killed: number;
  /** Mutants in all, but those that do not compile or that only a start of the process would show. */
  readonly total: number;
  /** Those that no test noticed, a line each. */
  readonly survivors: readonly string[];
}

const killedStates: ReadonlySet<string> = new Set(['Killed', 'Timeout']);
const countedStates: ReadonlySet<string> = new Set(['Killed', 'NoCoverage', 'Survived', 'Timeout']);

const unitTests = ['test/**/*.test.ts'];
const otherTests = ['test/**/*.{integration,interop,e2e,contract}.test.ts'];

/** Longest run over the files of one package, in milliseconds. */
const longestMs = 1_500_000;

/** Rounded down, so that a threshold that was set from it is reached again. */
function percent(part: number, whole: number): number {
  return whole === 0 ? 100 : Math.floor((part / whole) * 1000) / 10;
}

function scoreOf(file: string, threshold: number, mutants: readonly ReportedMutant[]): FileScore {
  const counted = mutants.filter(({ status }) => countedStates.has(status));
  const killed = counted.filter(({ status }) => killedStates.has(status)).length;
  const survivors = counted
    .filter(({ status }) => !killedStates.has(status))
    .map(
      ({ status, mutatorName, replacement = '', location: { start } }) =>
        `${file}:${start.line}:${start.column} ${mutatorName} -> ${replacement.replaceAll(/\s+/g, ' ').slice(0, 80)}${status === 'NoCoverage' ? ' (no test runs it)' : ''}`,
    );
  return {
    file,
    score: percent(killed, counted.length),
    threshold,
    killed,
    total: counted.length,
    survivors,
  };
}

/**
 * Runs StrykerJS over files of one package in the workshop: small faults of every kind, each against the unit tests that
 * run the line.
 */
export function scorePackage(
  workshop: Workshop,
  name: string,
  thresholds: Readonly<Record<string, number>>,
): readonly FileScore[] {
  const dir = workshop.folderOf(name);
  const out = join(dir, '.score');
  mkdirSync(out, { recursive: true });
  const reportFile = join(out, 'report.json');
  const vitestConfig = join(out, 'vitest.config.mjs');
  const setup = join(out, 'setup.mjs');
  // The same inputs each time, and few: a fault meets each property that runs its line.
  writeFileSync(setup, `import fc from 'fast-check';\nfc.configureGlobal({ numRuns: 30, seed: 1 });\n`);
  const test = { include: unitTests, exclude: otherTests, setupFiles: [setup], testTimeout: 60_000 };
  writeFileSync(vitestConfig, `export default { test: ${JSON.stringify(test)} };\n`);
  const config = join(out, 'stryker.config.json');
  const options = {
    testRunner: 'vitest',
    plugins: [fileURLToPath(import.meta.resolve('@stryker-mutator/vitest-runner'))],
    vitest: { configFile: vitestConfig, related: false },
    mutate: Object.keys(thresholds),
    reporters: ['json'],
    jsonReporter: { fileName: reportFile },
    coverageAnalysis: 'perTest',
    // What is done once when a module is loaded would need a process for each fault.
    ignoreStatic: true,
    inPlace: true,
    concurrency: 2,
    timeoutMS: 10_000,
    allowConsoleColors: false,
    tempDirName: join(out, 'tmp'),
  };
  writeFileSync(config, JSON.stringify(options));
  const stryker = join(
    createRequire(import.meta.url).resolve('@stryker-mutator/core/package.json'),
    '../bin/stryker.js',
  );
  const { status, stdout, stderr } = spawnSync(process.execPath, [stryker, 'run', config], {
    cwd: dir,
    encoding: 'utf8',
    timeout: longestMs,
  });
  if (status !== 0)
    throw new Error(`StrykerJS failed in ${name}: ${stdout.slice(-3000)}${stderr.slice(-1000)}`);
  const { files } = JSON.parse(readFileSync(reportFile, 'utf8')) as Report;
  return Object.entries(thresholds).map(([file, threshold]) =>
    scoreOf(`${name}/${file}`, threshold, files[file]?.mutants ?? []),
  );
}
