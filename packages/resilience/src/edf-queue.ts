import type { EndpointState } from './endpoint-state.js';

/**
 * Earliest deadline first: endpoints come up in proportion to their weights, evenly spread. The weight counts that
 * an endpoint has when it is picked, so that it may change at any time.
 *
 * @see {@link https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#weighted-round-robin | Envoy, weighted round robin}
 */
export class EdfQueue {
  readonly #heap: EndpointState[];

  /**
   * @param endpoints - Not empty.
   * @param random - Spreads the first deadlines, so that many clients do not all begin with the same endpoint.
   */
  constructor(
    endpoints: readonly EndpointState[],
    weightOf: (endpoint: EndpointState) => number,
    random: () => number,
  ) {
    for (const endpoint of endpoints) endpoint.edfDeadline = random() / Math.max(1e-9, weightOf(endpoint));
    this.#heap = [...endpoints].sort((a, b) => a.edfDeadline - b.edfDeadline);
  }

  /** Takes the next endpoint and puts it back behind its share. */
  next(weightOf: (endpoint: EndpointState) => number): EndpointState | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined) return undefined;
    first.edfDeadline += 1 / Math.max(1e-9, weightOf(first));
    this.#sink(first);
    return first;
  }

  #sink(moved: EndpointState): void {
    const heap = this.#heap;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      let least = left;
      if (right !== undefined && right.edfDeadline < left.edfDeadline) {
        child++;
        least = right;
      }
      if (least.edfDeadline >= moved.edfDeadline) break;
      heap[place] = least;
      place = child;
    }
    heap[place] = moved;
  }
}
