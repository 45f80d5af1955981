import { type Clause, firstSegment, type KeyedClause } from './clause.js';
import type { TestInput } from './test-input.js';

/** Up to this, walking the list is faster than looking in maps. */
const linearLimit = 2;
/**
 * Clauses of one principal or namespace that are worth walking. A walk costs more than it seems between two requests,
 * when little of it is in the processor's caches.
 */
const peerLimit = 8;

type Bucket = Map<string, Clause[]>;

function file(bucket: Bucket, keys: readonly string[], clause: Clause): void {
  for (const key of keys) {
    const filed = bucket.get(key);
    if (filed === undefined) bucket.set(key, [clause]);
    else filed.push(clause);
  }
}

function findIn(clauses: readonly Clause[] | undefined, input: TestInput): Clause | undefined {
  if (clauses === undefined) return undefined;
  for (let i = 0; i < clauses.length; i++) {
    const clause = clauses[i];
    if (clause?.matches(input)) return clause;
  }
  return undefined;
}

/** Tells the clauses whose keys have few clauses each. */
function rare(
  clauses: readonly KeyedClause[],
  keysOf: (clause: KeyedClause) => readonly string[] | undefined,
): (clause: KeyedClause) => boolean {
  const counts = new Map<string, number>();
  for (const clause of clauses)
    for (const key of keysOf(clause) ?? []) counts.set(key, (counts.get(key) ?? 0) + 1);
  return (clause) => keysOf(clause)?.every((key) => (counts.get(key) ?? 0) <= peerLimit) === true;
}

/** Finds a clause that matches, looking only at those that can. */
export class ClauseIndex {
  /** How many clauses there are. */
  readonly size: number;
  /** All of them, where they are so few that they are not filed. */
  readonly #few: readonly Clause[] | undefined;
  readonly #isFolded: boolean;
  readonly #hasPaths: boolean = false;
  readonly #paths: Bucket = new Map();
  readonly #segments: Bucket = new Map();
  readonly #principals: Bucket = new Map();
  readonly #namespaces: Bucket = new Map();
  readonly #rest: Clause[] = [];

  /**
   * @param clauses - In order of policies and rules.
   * @param isFolded - Whether they are filed under folded paths.
   */
  constructor(clauses: readonly KeyedClause[], isFolded: boolean) {
    this.size = clauses.length;
    this.#isFolded = isFolded;
    if (clauses.length <= linearLimit) {
      this.#few = clauses.map(({ clause }) => clause);
      return;
    }
    const isRarePrincipal = rare(clauses, ({ keys }) => keys.principals);
    const isRareNamespace = rare(clauses, ({ keys }) => keys.namespaces);
    for (const keyed of clauses) {
      const { clause, keys } = keyed;
      const { paths, segments, principals, namespaces } = keys;
      // Peers first: they are strings of a connection, a path may have to be spelled in several ways.
      if (isRarePrincipal(keyed)) file(this.#principals, principals ?? [], clause);
      else if (isRareNamespace(keyed)) file(this.#namespaces, namespaces ?? [], clause);
      else if (paths !== undefined) file(this.#paths, paths, clause);
      else if (segments !== undefined) file(this.#segments, segments, clause);
      else if (principals !== undefined) file(this.#principals, principals, clause);
      else if (namespaces !== undefined) file(this.#namespaces, namespaces, clause);
      else this.#rest.push(clause);
    }
    this.#hasPaths = this.#paths.size + this.#segments.size > 0;
  }

  /** A clause that matches. */
  find(input: TestInput): Clause | undefined {
    if (this.#few !== undefined) return findIn(this.#few, input);
    return (
      this.#findByPeer(input) ??
      (this.#hasPaths ? this.#findByPath(input) : undefined) ??
      findIn(this.#rest, input)
    );
  }

  #findByPath(input: TestInput): Clause | undefined {
    if (!this.#isFolded) return this.#findByKey(input, input.path);
    const { keys } = input.spellings();
    for (let i = 0; i < keys.length; i++) {
      const found = this.#findByKey(input, keys[i] ?? '');
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #findByKey(input: TestInput, key: string): Clause | undefined {
    return findIn(this.#paths.get(key), input) ?? findIn(this.#segments.get(firstSegment(key)), input);
  }

  #findByPeer(input: TestInput): Clause | undefined {
    const { peer } = input;
    if (peer === undefined) return undefined;
    const found = findIn(this.#principals.get(peer.principal), input);
    if (found !== undefined) return found;
    for (let i = 0; i < peer.namespaces.length; i++) {
      const byNamespace = findIn(this.#namespaces.get(peer.namespaces[i] ?? ''), input);
      if (byNamespace !== undefined) return byNamespace;
    }
    return undefined;
  }
}
