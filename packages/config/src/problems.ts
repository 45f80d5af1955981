import { inspect } from 'node:util';
import type { Origin } from '@inmesh/core';

/** What an error says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A value given in code, short, for messages; never fails, whatever it is. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 200));
  try {
    return inspect(value, {
      depth: 1,
      breakLength: Number.POSITIVE_INFINITY,
      maxArrayLength: 5,
      maxStringLength: 80,
      customInspect: false,
      getters: false,
    }).slice(0, 200);
  } catch {
    return typeof value;
  }
}

/** Everything that is wrong, one after the other; with space between them where one is more than a line. */
export function joinProblems(problems: readonly string[]): string {
  return problems.join(problems.some((one) => one.includes('\n')) ? '\n\n' : '\n');
}

/** `file:line:column` */
export function placeOf({ source, line, column }: Origin): string {
  return `${source}:${line}:${column}`;
}
