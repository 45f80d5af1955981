/** A change of a text. */
interface Edit {
  /** Text that is replaced; it must be there exactly once. */
  readonly find: string;
  /** What stands there instead. */
  readonly replace: string;
}

/** A fault that somebody could make, and the tests that must notice it. */
export interface Mutant extends Edit {
  /** What is broken, in a few words. */
  readonly name: string;
  /** Folder under `packages` whose source is changed. */
  readonly package: string;
  /** File, from the package. */
  readonly file: string;
  /** A second change of the file, where one thing is checked twice. @defaultValue none */
  readonly also?: Edit;
  /** Test files of which one must fail, from `packages`. */
  readonly tests: readonly string[];
}

/** The package of a test file. */
export function packageOf(test: string): string {
  return test.slice(0, test.indexOf('/'));
}

/** Source with the fault in it. @throws Error if a text is not there exactly once: the mutant has drifted. */
export function mutate(source: string, { name, file, find, replace, also }: Mutant): string {
  const edits: readonly Edit[] = also === undefined ? [{ find, replace }] : [{ find, replace }, also];
  return edits.reduce((text, edit) => {
    const parts = text.split(edit.find);
    if (parts.length !== 2)
      throw new Error(`the mutant '${name}' has drifted: its text is ${parts.length - 1} times in ${file}`);
    return parts.join(edit.replace);
  }, source);
}
