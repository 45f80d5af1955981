import { type Clause, firstSegment } from './clause.js';
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
  clauses: readonly Clause[],
  keysOf: (clause: Clause) => readonly string[] | undefined,
): (clause: Clause) => boolean {
  const counts = new Map<string, number>();
  for (const clause of clauses)
    for (const key of keysOf(clause) ?? []) counts.set(key, (counts.get(key) ?? 0) + 1);
  return (clause) => keysOf(clause)?.every((key) => (counts.get(key) ?? 0) <= peerLimit) === true;
}

/** Finds a clause that matches, looking only at those that can. */
export class ClauseIndex {
  readonly #all: readonly Clause[];
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
  constructor(clauses: readonly Clause[], isFolded: boolean) {
    this.#all = clauses;
    this.#isFolded = isFolded;
    if (clauses.length <= linearLimit) return;
    const isRarePrincipal = rare(clauses, ({ keys }) => keys.principals);
    const isRareNamespace = rare(clauses, ({ keys }) => keys.namespaces);
    for (const clause of clauses) {
      const { paths, segments, principals, namespaces } = clause.keys;
      // Peers first: they are strings of a connection, a path may have to be spelled in several ways.
      if (isRarePrincipal(clause)) file(this.#principals, principals ?? [], clause);
      else if (isRareNamespace(clause)) file(this.#namespaces, namespaces ?? [], clause);
      else if (paths !== undefined) file(this.#paths, paths, clause);
      else if (segments !== undefined) file(this.#segments, segments, clause);
      else if (principals !== undefined) file(this.#principals, principals, clause);
      else if (namespaces !== undefined) file(this.#namespaces, namespaces, clause);
      else this.#rest.push(clause);
    }
    this.#hasPaths = this.#paths.size + this.#segments.size > 0;
  }

  /** How many clauses there are. */
  get size(): number {
    return this.#all.length;
  }

  /** A clause that matches. */
  find(input: TestInput): Clause | undefined {
    if (this.#all.length <= linearLimit) return findIn(this.#all, input);
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
