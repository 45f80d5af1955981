import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { runVectors } from '@inmesh/authz';
import { parsePolicyObject } from '@inmesh/config/policies';
import { type Command, UsageError } from '../command.js';

/** `inmesh authz eval` */
export const evaluate: Command = async (args, output) => {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { vectors: { type: 'string', multiple: true } },
    allowPositionals: true,
  });
  const files = [...(values.vectors ?? []), ...positionals];
  if (files.length === 0) throw new UsageError('--vectors needs at least one file');
  const read = await Promise.all(
    files.map(async (file) => {
      try {
        return { name: basename(file), text: await readFile(file, 'utf8') };
      } catch (error) {
        throw new UsageError(
          `cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    }),
  );
  const report = runVectors(read, (json, namespace) => parsePolicyObject(json, 'vector', { namespace }));
  for (const line of report.lines) output.print(line);
  output.print(`${report.passed} passed, ${report.failed} failed, ${report.skipped} skipped`);
  return report.failed === 0 ? 0 : 1;
};
