/** The line at fault with a caret under the column, for people. */
export function codeFrame(text: string, line: number, column: number): string {
  const lines = text.split('\n');
  const shown = [line - 1, line].filter((n) => n >= 1 && n <= lines.length);
  const width = String(line).length;
  const rows = shown.map((n) => `  ${String(n).padStart(width)} | ${(lines[n - 1] ?? '').slice(0, 160)}`);
  return [...rows, `  ${' '.repeat(width)} | ${' '.repeat(Math.min(column, 160) - 1)}^`].join('\n');
}
