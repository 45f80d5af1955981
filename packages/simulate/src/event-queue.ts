/** Something that happens at a time. */
export interface Event {
  /** When, in milliseconds. */
  readonly dueMs: number;
  /** Order among those of the same time. */
  readonly order: number;
  /** What; `undefined` if it was called off. */
  run: (() => void) | undefined;
}

function isBefore(a: Event, b: Event): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

/** Events in order of their time: a binary heap. */
export class EventQueue {
  readonly #heap: Event[] = [];
  #count = 0;

  /** Time of the first; `Infinity` if there is none. */
  get firstMs(): number {
    return this.#heap[0]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  /** Adds an event. */
  add(dueMs: number, run: () => void): Event {
    const event: Event = { dueMs, order: this.#count++, run };
    const heap = this.#heap;
    let place = heap.length;
    heap.push(event);
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || isBefore(parent, event)) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = event;
    return event;
  }

  /** Takes the first. */
  take(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first !== undefined && last !== undefined && heap.length > 0) this.#sink(last);
    return first;
  }

  #sink(moved: Event): void {
    const heap = this.#heap;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      let least = heap[child];
      if (least === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, least)) {
        least = right;
        child++;
      }
      if (isBefore(moved, least)) break;
      heap[place] = least;
      place = child;
    }
    heap[place] = moved;
  }
}
