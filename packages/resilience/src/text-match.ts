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

function compileRegex(pattern: string): RegExp {
  if (pattern.length > maxPattern)
    throw new MeshError(
      'INMESH_ERR_CONFIG_INVALID',
      `a pattern of ${pattern.length} characters is too long; at most ${maxPattern}`,
    );
  // A repeated group that repeats inside takes exponential time on texts made for it.
  if (/\([^)]*[+*][^)]*\)[+*{]/.test(pattern))
    throw new MeshError(
      'INMESH_ERR_CONFIG_INVALID',
      `the pattern "${pattern}" repeats a group that repeats inside; such patterns can take exponential time`,
    );
  try {
    return new RegExp(`^(?:${pattern})$`);
  } catch (error) {
    throw new MeshError(
      'INMESH_ERR_CONFIG_INVALID',
      `"${pattern}" is no regular expression: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
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
  return (text) => compiled.test(text);
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
