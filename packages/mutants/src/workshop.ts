import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Mutant, mutate, packageOf } from './mutant.js';

/** What a run of tests came to. */
export type TestRun =
  | { readonly kind: 'passed' }
  | { readonly kind: 'failed'; readonly test: string }
  /** Nothing was shown: it did not start, or did not end. */
  | { readonly kind: 'broken'; readonly why: string };

interface Report {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** Longest run of the tests of one mutant, in milliseconds. A fault that hangs is told as broken: name a test that ends. */
const longestMs = 180_000;

const isCopied = (source: string): boolean => !/[/\\](?:node_modules|\.turbo|peers|coverage)$/.test(source);

/** A copy of the tree, whose packages know each other: the checkout itself is never changed. */
export class Workshop {
  readonly #root: string;
  readonly #reportFile: string;

  /** @param checkout - Root of the repository, built. */
  constructor(checkout: string) {
    this.#root = mkdtempSync(join(tmpdir(), 'inmesh-mutants-'));
    this.#reportFile = join(this.#root, 'report.json');
    for (const name of ['package.json', 'tsconfig.json', 'packages', 'docs', 'examples'])
      cpSync(join(checkout, name), join(this.#root, name), { recursive: true, filter: isCopied });
    this.#linkModules(checkout);
  }

  /** Where a package of the copy is. */
  folderOf(name: string): string {
    return join(this.#root, 'packages', name);
  }

  /** Runs test files of one package or several, one package after the other, up to the first that fails. */
  test(files: readonly string[]): TestRun {
    for (const name of new Set(files.map(packageOf))) {
      const own = files.filter((file) => packageOf(file) === name);
      const run = this.#vitest(
        name,
        own.map((file) => file.slice(name.length + 1)),
      );
      if (run.kind !== 'passed') return run;
    }
    return { kind: 'passed' };
  }

  /** Runs the tests of `mutant` with its fault in place, and takes it out again. */
  try(mutant: Mutant): TestRun {
    const file = join(this.#root, 'packages', mutant.package, mutant.file);
    const source = readFileSync(file, 'utf8');
    writeFileSync(file, mutate(source, mutant));
    const isShared = mutant.tests.some((test) => packageOf(test) !== mutant.package);
    try {
      if (isShared) this.#bundle(mutant.package);
      return this.test(mutant.tests);
    } finally {
      writeFileSync(file, source);
      if (isShared) this.#bundle(mutant.package);
    }
  }

  /** Removes the copy. */
  close(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }

  /** Links to what was installed; links within the workspace point into the copy. */
  #linkModules(checkout: string): void {
    const installed = join(checkout, 'node_modules');
    const modules = join(this.#root, 'node_modules');
    mkdirSync(join(modules, '@inmesh'), { recursive: true });
    for (const name of readdirSync(installed)) {
      if (name === '@inmesh' || name === 'inmesh') continue;
      symlinkSync(join(installed, name), join(modules, name));
    }
    for (const name of readdirSync(join(this.#root, 'packages'))) {
      const target = join(this.#root, 'packages', name);
      symlinkSync(target, name === 'inmesh' ? join(modules, name) : join(modules, '@inmesh', name));
      const nested = join(checkout, 'packages', name, 'node_modules');
      if (existsSync(nested)) symlinkSync(nested, join(target, 'node_modules'));
    }
  }

  #bundle(name: string): void {
    const { status, stderr } = spawnSync(process.execPath, ['../tooling/bundle.mjs'], {
      cwd: join(this.#root, 'packages', name),
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${name} cannot be bundled: ${stderr}`);
  }

  #vitest(name: string, files: readonly string[]): TestRun {
    rmSync(this.#reportFile, { force: true });
    const vitest = join(this.#root, 'node_modules/vitest/vitest.mjs');
    const options = ['--config', '../tooling/vitest.config.ts', '--bail', '1', '--maxWorkers', '1'];
    const report = ['--reporter', 'json', '--outputFile', this.#reportFile];
    const { status, stderr, signal } = spawnSync(
      process.execPath,
      [vitest, 'run', ...options, ...report, ...files],
      { cwd: join(this.#root, 'packages', name), encoding: 'utf8', timeout: longestMs },
    );
    if (signal !== null) return { kind: 'broken', why: `did not end within ${longestMs / 1000} s` };
    if (!existsSync(this.#reportFile)) return { kind: 'broken', why: stderr.slice(-2000) };
    const { testResults } = JSON.parse(readFileSync(this.#reportFile, 'utf8')) as Report;
    return verdictOf(status ?? 1, testResults);
  }
}

function verdictOf(status: number, results: Report['testResults']): TestRun {
  const tests = results.flatMap(({ assertionResults }) => assertionResults);
  const failed = tests.find((one) => one.status === 'failed');
  if (failed !== undefined) return { kind: 'failed', test: failed.fullName };
  const ran = tests.some((one) => one.status === 'passed');
  if (status === 0 && ran) return { kind: 'passed' };
  return { kind: 'broken', why: results.map(({ message }) => message).join('\n') || 'no test ran' };
}
