import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mutate } from './mutant.js';
import { namedMutants } from './named-mutants.js';
import { Workshop } from './workshop.js';

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const { only = '' } = values;
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

const checkout = fileURLToPath(new URL('../../..', import.meta.url));
// Before anything else, and all of them: what has drifted would be found after minutes.
for (const mutant of namedMutants)
  mutate(readFileSync(join(checkout, 'packages', mutant.package, mutant.file), 'utf8'), mutant);
const workshop = new Workshop(checkout);
try {
  const survivors = run(workshop);
  print(`\n${chosen.length - survivors.length} of ${chosen.length} killed`);
  if (survivors.length > 0 || chosen.length === 0) {
    process.stderr.write(`not killed: ${survivors.join('; ') || 'none was chosen'}\n`);
    process.exitCode = 1;
  }
} finally {
  workshop.close();
}
