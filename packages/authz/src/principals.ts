import { patternKind } from './string-match.js';

function isRelated(one: string, other: string): boolean {
  const matches = (pattern: string, value: string): boolean => {
    switch (patternKind(pattern)) {
      case 'present': {
        return true;
      }
      case 'suffix': {
        return value.endsWith(pattern.slice(1));
      }
      case 'prefix': {
        return value.startsWith(pattern.slice(0, -1));
      }
      case 'exact': {
        return value === pattern;
      }
    }
  };
  return matches(one, other) || matches(other, one);
}

/**
 * Adds the spellings of principals under the aliases of our trust domain, as Istio does: a principal of our trust
 * domain, of an alias or of `cluster.local` stands for the same account in each of them.
 */
export function expandPrincipals(
  principals: readonly string[],
  trustDomain: string,
  aliases: readonly string[],
): readonly string[] {
  const domains = [...new Set([trustDomain, ...aliases])];
  const result = new Set<string>();
  for (const principal of principals) {
    const parts = principal.split('/');
    const [domain = ''] = parts;
    const isKnown = domain === 'cluster.local' || domains.some((known) => isRelated(domain, known));
    if (parts.length !== 5 || domain === '*' || !isKnown) {
      result.add(principal);
      continue;
    }
    const account = parts.slice(1).join('/');
    for (const known of domains) {
      // A wildcard such as `*-east` that already covers a domain is kept as it is for it.
      result.add(domain.includes('*') && isRelated(domain, known) ? principal : `${known}/${account}`);
    }
  }
  return [...result];
}
