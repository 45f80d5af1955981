import { type HeaderMatch, MeshError, type TextMatch } from '@inmesh/core';

/** What header tests look at: requests and replies. */
export interface HeaderSource {
  /** First value of a header. */
  header(name: string): string | undefined;
}

/** Decides about headers. */
export type HeaderTest = (source: HeaderSource) => boolean;

/** Longest pattern, in characters: Node has no engine that is linear in the pattern. */
const maxPattern = 1024;
/** Longest text that a pattern is tried on, in characters; a longer one does not match. */
const maxText = 4096;
/** Unbounded repetitions in a pattern: with more of them the time grows with a higher power of the text. */
const maxRepetitions = 2;

function refuse(pattern: string, why: string, cause?: unknown): never {
  throw new MeshError(
    'INMESH_ERR_CONFIG_INVALID',
    `"${pattern}" is no regular expression that can be used: ${why}`,
    {
      cause,
    },
  );
}

const repetition = /^(?:[*+]|\{\d*,\d*\}|\{\d+\})/;
/** The beginning of a group, with what says which kind it is. */
const groupStart = /^\((?:\?(?:[:=!]|<[=!]|<[^>]*>)?)?/;
/** Escapes of RE2, in which such patterns are written, that mean something else here. */
const foreignEscape = /[ACPQZpz]/;
const bounded = /^\{\d+\}|^\{\d*,\d+\}/;

/**
 * Reads a pattern and refuses what can take exponential time on texts made for it: a repeated group that itself
 * repeats or chooses. Some harmless patterns are refused with them.
 */
class CostCheck {
  readonly #pattern: string;
  /** For each open group, whether what is inside could match one text in several ways. */
  readonly #open: boolean[] = [false];
  /** Whether the group that was just closed could. */
  #closed = false;
  #unbounded = 0;
  #isInClass = false;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  /** @throws MeshError `INMESH_ERR_CONFIG_INVALID` */
  run(): void {
    for (let i = 0; i < this.#pattern.length; ) i += this.#step(i);
  }

  /** @returns Characters that were read. */
  #step(at: number): number {
    const character = this.#pattern[at] ?? '';
    const wasAmbiguous = this.#closed;
    this.#closed = false;
    if (character === '\\') return this.#escape(this.#pattern[at + 1] ?? '');
    if (this.#isInClass || character === '[') return this.#inClass(at);
    if (character === '(') {
      this.#open.push(false);
      return groupStart.exec(this.#pattern.slice(at))?.[0].length ?? 1;
    }
    if (character === ')') this.#close();
    // What may be there or not can be taken for what follows.
    else if (character === '|' || character === '?') this.#mark();
    else return this.#repeat(at, wasAmbiguous);
    return 1;
  }

  #escape(escaped: string): number {
    if (/[1-9k]/.test(escaped)) refuse(this.#pattern, 'it refers back to what it matched');
    if (foreignEscape.test(escaped))
      refuse(this.#pattern, `\\${escaped} means something else here than in RE2`);
    return 2;
  }

  #inClass(at: number): number {
    if (this.#pattern.startsWith(this.#isInClass ? '[:' : '[[:', at))
      refuse(this.#pattern, 'classes such as [[:digit:]] are not read here; write [0-9]');
    this.#isInClass = this.#pattern[at] !== ']';
    return 1;
  }

  #repeat(at: number, wasAmbiguous: boolean): number {
    const [found] = repetition.exec(this.#pattern.slice(at)) ?? [];
    if (found === undefined) return 1;
    if (wasAmbiguous) refuse(this.#pattern, 'it repeats a group that itself repeats or chooses');
    if (!bounded.test(found) && ++this.#unbounded > maxRepetitions)
      refuse(this.#pattern, `it has more than ${maxRepetitions} unbounded repetitions`);
    this.#mark();
    return found.length;
  }

  /** What is ambiguous inside is so outside, whatever it stands in. */
  #close(): void {
    this.#closed = this.#open.length > 1 && this.#open.pop() === true;
    if (this.#closed) this.#mark();
  }

  #mark(): void {
    this.#open[this.#open.length - 1] = true;
  }
}

function compileRegex(pattern: string): RegExp {
  if (pattern.length > maxPattern)
    throw new MeshError(
      'INMESH_ERR_CONFIG_INVALID',
      `a pattern of ${pattern.length} characters is too long; at most ${maxPattern}`,
    );
  try {
    // Alone first: what is only a pattern inside of other parentheses would break out of ours.
    void new RegExp(pattern);
  } catch (error) {
    refuse(pattern, error instanceof Error ? error.message : String(error), error);
  }
  new CostCheck(pattern).run();
  return new RegExp(`^(?:${pattern})$`);
}

/**
 * Compiles a comparison; `undefined` if none is given.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID` if several are given, or a pattern is wrong.
 */
export function compileTextMatch(match: TextMatch): ((text: string) => boolean) | undefined {
  const { exact, prefix, regex } = match;
  const given = [exact, prefix, regex].filter((one) => one !== undefined).length;
  if (given > 1)
    throw new MeshError('INMESH_ERR_CONFIG_INVALID', 'give one of exact, prefix and regex, not several');
  if (exact !== undefined) return (text) => text === exact;
  if (prefix !== undefined) return (text) => text.startsWith(prefix);
  if (regex === undefined) return undefined;
  const compiled = compileRegex(regex);
  return (text) => text.length <= maxText && compiled.test(text);
}

/**
 * Compiles a header match.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID`
 */
export function compileHeaderMatch(match: HeaderMatch): HeaderTest {
  const name = match.name.toLowerCase();
  if (name === '') throw new MeshError('INMESH_ERR_CONFIG_INVALID', 'a header match needs a name');
  const test = compileTextMatch(match);
  const isInverted = match.invert ?? false;
  if (test === undefined) {
    const mustBe = (match.present ?? true) !== isInverted;
    return (source) => (source.header(name) !== undefined) === mustBe;
  }
  return (source) => {
    const value = source.header(name);
    return (value !== undefined && test(value)) !== isInverted;
  };
}
