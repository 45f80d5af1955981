import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { runVectors, type VectorFile } from '@inmesh/authz';
import { parsePolicyObject } from '@inmesh/config/policies';
import { type Command, InputError, UsageError } from '../command.js';

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What keeps a text from being vectors; cases that are wrong inside fail one by one. */
function faultOf(text: string): string | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return `is not JSON: ${messageOf(error)}`;
  }
  const { cases } = (json ?? {}) as { readonly cases?: unknown };
  if (!Array.isArray(cases)) return 'has no array "cases"';
  const wrong = cases.findIndex((one: { readonly id?: unknown } | null) => typeof one?.id !== 'string');
  return wrong === -1 ? undefined : `has a case ${wrong} that is no object with an "id"`;
}

async function readVectors(file: string): Promise<VectorFile> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new InputError(`cannot read ${file}: ${messageOf(error)}`);
  }
  const fault = faultOf(text);
  if (fault !== undefined) throw new InputError(`${file} ${fault}`);
  return { name: basename(file), text };
}

/** `inmesh authz eval` */
export const evaluate: Command = async (args, output) => {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { vectors: { type: 'string', multiple: true } },
    allowPositionals: true,
  });
  const files = [...(values.vectors ?? []), ...positionals];
  if (files.length === 0) throw new UsageError('--vectors needs at least one file');
  const read = await Promise.all(files.map(readVectors));
  const report = runVectors(read, (json, namespace) => parsePolicyObject(json, 'vector', { namespace }));
  for (const line of report.lines) output.print(line);
  output.print(`${report.passed} passed, ${report.failed} failed, ${report.skipped} skipped`);
  return report.failed === 0 ? 0 : 1;
};
