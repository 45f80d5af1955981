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

/** Takes what is wrong. */
export type Report = (diagnostic: Diagnostic) => void;

const token = /^(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,:#{}[\]]+|.)/;
const widest = 160;

/** How many columns are at fault: the word or the quoted text that begins there. */
function widthAt(line: string, column: number): number {
  const [found = ' '] = token.exec(line.slice(column - 1)) ?? [];
  return Math.max(1, Math.min(found.length, widest - column));
}

/** The line at fault, the one before it, and marks under what is wrong. */
function frame(text: string, line: number, column: number): readonly string[] {
  const lines = text.split(/\r?\n/);
  const shown = [line - 1, line].filter((n) => n >= 1 && n <= lines.length);
  const width = String(line).length;
  const gutter = `${' '.repeat(width)} |`;
  const at = Math.min(column, widest);
  // A tab is one column of the file and one place of the frame.
  const rows = shown.map((n) => {
    const row = (lines[n - 1] ?? '').slice(0, widest).replaceAll('\t', ' ');
    return `${String(n).padStart(width)} | ${row}`.trimEnd();
  });
  const marks = '^'.repeat(widthAt(lines[line - 1] ?? '', at));
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
  throw new MeshError(
    worst?.code ?? 'INMESH_ERR_CONFIG_INVALID',
    joinProblems(diagnostics.map((one) => renderDiagnostic(one, files.get(one.origin.source)))),
    { details: { ...worst?.origin, field: worst?.field } },
  );
}
