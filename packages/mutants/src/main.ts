import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mutate } from './mutant.js';
import { namedMutants } from './named-mutants.js';
import { type FileScore, scorePackage, type Thresholds } from './score.js';
import { Workshop } from './workshop.js';

const { values } = parseArgs({ options: { only: { type: 'string' }, quick: { type: 'boolean' } } });
const { only = '', quick = only !== '' } = values;
const chosen = namedMutants.filter(({ name }) => name.includes(only));

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** @returns Names of those that no test noticed. */
function run(workshop: Workshop): string[] {
  const tests = [...new Set(chosen.flatMap((mutant) => mutant.tests))];
  const clean = workshop.test(tests);
  if (clean.kind !== 'passed')
    throw new Error(
      `without a mutant the tests fail already: ${clean.kind === 'failed' ? clean.test : clean.why}`,
    );
  print('| mutant | killed by | seconds |\n|---|---|---|');
  const survivors: string[] = [];
  for (const mutant of chosen) {
    const startMs = performance.now();
    const found = workshop.try(mutant);
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    if (found.kind !== 'failed') survivors.push(mutant.name);
    const by =
      found.kind === 'failed'
        ? found.test
        : found.kind === 'passed'
          ? 'SURVIVED'
          : `NO VERDICT: ${found.why}`;
    print(`| ${mutant.name} | ${by} | ${seconds} |`);
  }
  return survivors;
}

/** @returns Files whose score is below what it has been. */
function score(workshop: Workshop): string[] {
  const all: FileScore[] = [];
  for (const [name, files] of Object.entries(thresholds)) all.push(...scorePackage(workshop, name, files));
  print('\n| file | score | least | killed of |\n|---|---|---|---|');
  for (const one of all)
    print(`| ${one.file} | ${one.score} % | ${one.threshold} % | ${one.killed} of ${one.total} |`);
  const killed = all.reduce((sum, one) => sum + one.killed, 0);
  const total = all.reduce((sum, one) => sum + one.total, 0);
  print(`\nscore: ${((killed / total) * 100).toFixed(1)} % (${killed} of ${total}); survivors:`);
  for (const { survivors } of all) for (const survivor of survivors) print(`- ${survivor}`);
  const low = all.filter((one) => one.score < one.threshold || one.total === 0);
  return low.map(({ file, score: reached, threshold }) => `${file} ${reached} % < ${threshold} %`);
}

const checkout = fileURLToPath(new URL('../../..', import.meta.url));
// Before anything else, and all of them: what has drifted would be found after minutes.
for (const mutant of namedMutants)
  mutate(readFileSync(join(checkout, 'packages', mutant.package, mutant.file), 'utf8'), mutant);
const thresholds = JSON.parse(
  readFileSync(join(checkout, 'packages/mutants/thresholds.json'), 'utf8'),
) as Thresholds;
const workshop = new Workshop(checkout);
try {
  const survivors = run(workshop);
  print(`\n${chosen.length - survivors.length} of ${chosen.length} killed`);
  if (survivors.length > 0 || chosen.length === 0) {
    process.stderr.write(`not killed: ${survivors.join('; ') || 'none was chosen'}\n`);
    process.exitCode = 1;
  }
  const low = quick ? [] : score(workshop);
  if (low.length > 0) {
    process.stderr.write(`below what was reached before: ${low.join('; ')}\n`);
    process.exitCode = 1;
  }
} finally {
  workshop.close();
}
