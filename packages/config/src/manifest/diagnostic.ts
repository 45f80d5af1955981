import { MeshError, type MeshErrorCode, type Origin } from '@inmesh/core';
import { joinProblems } from '../problems.js';

/** Where the page of errors is; the anchor of a code follows it. */
const errorPage = 'https://github.com/inmesh/inmesh/blob/main/docs/reference/errors.md';

/** A mistake in a file: what is wrong, and where. */
export interface Diagnostic {
  /** A code of the table. */
  readonly code: MeshErrorCode;
  /** Where it stands; line 0 where there is no file. */
  readonly origin: Origin;
  /** What is wrong, with the nearest name that is right. */
  readonly message: string;
  /** The field that is not supported, if that is the mistake. */
  readonly field?: string | undefined;
}

/** Mistakes that are told; whoever has more of them mends these first. */
export const maxDiagnostics = 100;

/** What is said where there are more. */
export const moreMistakes = `there are more mistakes; these are the first ${maxDiagnostics}`;

/** Takes what is wrong. */
export type Report = (diagnostic: Diagnostic) => void;

const token = /^(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,:#{}[\]]+|.)/;
const widest = 160;

/** How many columns are at fault: the word or the quoted text that begins there. */
function widthAt(line: string, column: number): number {
  const [found = ' '] = token.exec(line.slice(column - 1)) ?? [];
  return Math.max(1, Math.min(found.length, widest - column));
}

/** A line, the first being 1; a large text is not cut into all of its lines for each mistake. */
function lineOf(text: string, number: number): string | undefined {
  let start = 0;
  for (let line = 1; line < number; line++) {
    const end = text.indexOf('\n', start);
    if (end === -1) return undefined;
    start = end + 1;
  }
  const end = text.indexOf('\n', start);
  return text.slice(start, end === -1 ? text.length : end).replace(/\r$/, '');
}

/** The line at fault, the one before it, and marks under what is wrong. */
function frame(text: string, line: number, column: number): readonly string[] {
  const shown = [line - 1, line].filter((n) => n >= 1 && lineOf(text, n) !== undefined);
  const width = String(line).length;
  const gutter = `${' '.repeat(width)} |`;
  const at = Math.min(column, widest);
  // A tab is one column of the file and one place of the frame.
  const rows = shown.map((n) => {
    const row = (lineOf(text, n) ?? '').slice(0, widest).replaceAll('\t', ' ');
    return `${String(n).padStart(width)} | ${row}`.trimEnd();
  });
  const marks = '^'.repeat(widthAt(lineOf(text, line) ?? '', at));
  return [gutter, ...rows, `${gutter} ${' '.repeat(at - 1)}${marks}`];
}

/**
 * Writes a mistake as compilers do: what, where, the line with a mark, and where to read more.
 *
 * @param text - Of the file, for the frame.
 */
export function renderDiagnostic({ code, origin, message }: Diagnostic, text: string | undefined): string {
  const { source, line, column } = origin;
  if (line === 0) return `${source}: ${message}`;
  const width = String(line).length;
  const indent = ' '.repeat(width);
  return [
    `error[${code}]: ${message}`,
    `${indent}--> ${source}:${line}:${column}`,
    ...(text === undefined ? [] : frame(text, line, column)),
    `${indent} = see ${errorPage}#${code.toLowerCase()}`,
  ].join('\n');
}

/** The code of all of them: what is wrong outweighs what is not supported. */
export function worstOf(diagnostics: readonly Diagnostic[]): Diagnostic | undefined {
  return diagnostics.find(({ code }) => !code.endsWith('_UNSUPPORTED')) ?? diagnostics[0];
}

/**
 * One error of all of them.
 *
 * @param files - Texts by name, for the frames.
 * @throws MeshError always
 */
export function raise(diagnostics: readonly Diagnostic[], files: ReadonlyMap<string, string>): never {
  const worst = worstOf(diagnostics);
  const told = diagnostics
    .slice(0, maxDiagnostics)
    .map((one) => renderDiagnostic(one, files.get(one.origin.source)));
  throw new MeshError(
    worst?.code ?? 'INMESH_ERR_CONFIG_INVALID',
    joinProblems(diagnostics.length > maxDiagnostics ? [...told, moreMistakes] : told),
    { details: { ...worst?.origin, field: worst?.field } },
  );
}
