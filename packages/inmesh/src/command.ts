/** Where a command writes. */
export interface CliOutput {
  /** A line of result. */
  print(line: string): void;
  /** A line for the person who runs it. */
  complain(line: string): void;
}

/** Runs one command. @returns the exit code */
export type Command = (args: readonly string[], output: CliOutput) => Promise<number>;

/** What a command was given cannot be used; its message says which and why. */
export class InputError extends Error {}

/** A wrong command line. */
export class UsageError extends Error {}
