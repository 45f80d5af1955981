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

/** A group that is open while a pattern is read: whether what is inside could match one text in several ways. */
interface OpenGroup {
  isAmbiguous: boolean;
}

const repetition = /^(?:[*+]|\{\d*,\d*\}|\{\d+\})/;

/**
 * Refuses patterns that can take exponential time on texts made for them: a repeated group that itself repeats or
 * chooses. Some harmless ones are refused with them.
 */
function checkCost(pattern: string): void {
  const open: OpenGroup[] = [{ isAmbiguous: false }];
  let unbounded = 0;
  let isInClass = false;
  let closed: OpenGroup | undefined;
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i] ?? '';
    const before = closed;
    closed = undefined;
    if (character === '\\') {
      if (/[1-9k]/.test(pattern[i + 1] ?? '')) refuse(pattern, 'it refers back to what it matched');
      i++;
    } else if (isInClass) isInClass = character !== ']';
    else if (character === '[') isInClass = true;
    else if (character === '(') open.push({ isAmbiguous: false });
    else if (character === ')') closed = open.length > 1 ? open.pop() : undefined;
    else if (character === '|') (open.at(-1) ?? { isAmbiguous: false }).isAmbiguous = true;
    else {
      const [found] = repetition.exec(pattern.slice(i)) ?? [];
      if (found === undefined) continue;
      if (before?.isAmbiguous) refuse(pattern, 'it repeats a group that itself repeats or chooses');
      if (!/^\{\d+\}|^\{\d*,\d+\}/.test(found) && ++unbounded > maxRepetitions)
        refuse(pattern, `it has more than ${maxRepetitions} unbounded repetitions`);
      (open.at(-1) ?? { isAmbiguous: false }).isAmbiguous = true;
      i += found.length - 1;
    }
    // What is ambiguous inside is so outside, whatever it stands in.
    if (closed?.isAmbiguous) (open.at(-1) ?? closed).isAmbiguous = true;
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
  checkCost(pattern);
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
