/** Whether a value matches. */
export type StringMatch = (value: string) => boolean;

/** How a pattern matches: Istio's four kinds. */
export type PatternKind = 'present' | 'suffix' | 'prefix' | 'exact';

/** `*` is presence, a leading `*` a suffix, a trailing `*` a prefix, else exact; any other `*` is literal. */
export function patternKind(pattern: string): PatternKind {
  if (pattern === '*') return 'present';
  if (pattern.startsWith('*')) return 'suffix';
  return pattern.endsWith('*') ? 'prefix' : 'exact';
}

/** Compiles one pattern; see {@link patternKind}. */
export function matchPattern(pattern: string): StringMatch {
  switch (patternKind(pattern)) {
    case 'present': {
      return (value) => value !== '';
    }
    case 'suffix': {
      const suffix = pattern.slice(1);
      return (value) => value.endsWith(suffix);
    }
    case 'prefix': {
      const prefix = pattern.slice(0, -1);
      return (value) => value.startsWith(prefix);
    }
    case 'exact': {
      return (value) => value === pattern;
    }
  }
}

/** Matches what any of the matchers matches. */
export function anyOf(matches: readonly StringMatch[]): StringMatch {
  const [first, second] = matches;
  if (first === undefined) return () => false;
  if (second === undefined) return first;
  return (value) => {
    for (let i = 0; i < matches.length; i++) if (matches[i]?.(value)) return true;
    return false;
  };
}

/** Compiles patterns of which one must match; many exact ones become one set. */
export function matchPatterns(
  patterns: readonly string[],
  compile: (pattern: string) => StringMatch = matchPattern,
): StringMatch {
  const exact = patterns.filter((pattern) => patternKind(pattern) === 'exact');
  if (compile !== matchPattern || exact.length < 4) return anyOf(patterns.map(compile));
  const set = new Set(exact);
  const rest = anyOf(patterns.filter((pattern) => !set.has(pattern)).map(compile));
  return (value) => set.has(value) || rest(value);
}

/** `*` stands for anything, anywhere; for namespaces. */
export function matchGlob(pattern: string): StringMatch {
  if (!pattern.includes('*')) return (value) => value === pattern;
  const parts = pattern.split('*');
  const head = parts[0] ?? '';
  const tail = parts.at(-1) ?? '';
  const middle = parts.slice(1, -1);
  return (value) => {
    if (value.length < head.length + tail.length || !value.startsWith(head) || !value.endsWith(tail))
      return false;
    let place = head.length;
    const end = value.length - tail.length;
    for (const part of middle) {
      const found = value.indexOf(part, place);
      if (found === -1 || found + part.length > end) return false;
      place = found + part.length;
    }
    return true;
  };
}
