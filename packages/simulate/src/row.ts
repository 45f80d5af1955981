/** One line of the result: what was measured beside what was promised. */
export interface Row {
  /** Simulation and what of it. */
  readonly name: string;
  /** What the real classes did. */
  readonly ours: string;
  /** What others measured. */
  readonly published: string;
  /** What must hold. */
  readonly bound: string;
  /** Whether it does. */
  readonly isKept: boolean;
}

/** Rows as a table of plain text. */
export function table(rows: readonly Row[]): string {
  const lines = [
    ['simulation', 'ours', 'published', 'bound', 'verdict'],
    ...rows.map((row) => [row.name, row.ours, row.published, row.bound, row.isKept ? 'ok' : 'BROKEN']),
  ];
  const widths = [0, 1, 2, 3].map((i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines.map((line) => line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')).join('\n');
}
