/** A fault that somebody could make, and the tests that must notice it. */
export interface Mutant {
  /** What is broken, in a few words. */
  readonly name: string;
  /** Folder under `packages` whose source is changed. */
  readonly package: string;
  /** File, from the package. */
  readonly file: string;
  /** Text that is replaced; it must be there exactly once. */
  readonly find: string;
  /** What stands there instead. */
  readonly replace: string;
  /** Test files of which one must fail, from `packages`. */
  readonly tests: readonly string[];
}

/** The package of a test file. */
export function packageOf(test: string): string {
  return test.slice(0, test.indexOf('/'));
}

/** Source with the fault in it. @throws Error if the text is not there exactly once: the mutant has drifted. */
export function mutate(source: string, { name, file, find, replace }: Mutant): string {
  const parts = source.split(find);
  if (parts.length !== 2)
    throw new Error(`the mutant '${name}' has drifted: its text is ${parts.length - 1} times in ${file}`);
  return parts.join(replace);
}
