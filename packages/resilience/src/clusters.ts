import type { Cluster } from '@inmesh/core';
import type { ClusterParts } from './cluster-parts.js';
import { ClusterState } from './cluster-state.js';

/** The clusters of a mesh by name; each keeps its state while it is configured. */
export class Clusters {
  readonly #parts: ClusterParts;
  readonly #states = new Map<string, ClusterState>();

  /** @param parts - Shared by all of them. */
  constructor(parts: ClusterParts) {
    this.#parts = { random: parts.runtime.random.bind(parts.runtime), ...parts };
  }

  /** State of a cluster, under its configuration in the snapshot that the caller holds. */
  of(cluster: Cluster): ClusterState {
    const known = this.#states.get(cluster.name);
    if (known !== undefined) {
      if (known.cluster !== cluster) known.configure(cluster);
      return known;
    }
    const made = new ClusterState(cluster, this.#parts);
    this.#states.set(cluster.name, made);
    return made;
  }

  /** Every cluster that was asked for. */
  get all(): readonly ClusterState[] {
    return [...this.#states.values()];
  }

  /** Lets go of clusters that are not configured any more. */
  retain(names: ReadonlySet<string>): void {
    for (const [name, state] of this.#states) {
      if (names.has(name)) continue;
      state.close();
      this.#states.delete(name);
    }
  }

  /** Ends every subscription. */
  close(): void {
    this.retain(new Set());
  }
}
