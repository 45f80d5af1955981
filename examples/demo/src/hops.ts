/** Times of the calls that a service makes, by whom it calls: what the table at the end is made of. */
export class Hops {
  readonly #times = new Map<string, number[]>();

  /** Runs one call and notes how long it took. */
  async time<T>(to: string, call: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await call();
    } finally {
      const times = this.#times.get(to) ?? [];
      this.#times.set(to, times);
      times.push(performance.now() - start);
    }
  }

  /** Median and 99th percentile in milliseconds, by whom was called. */
  report(): Readonly<Record<string, { readonly p50: number; readonly p99: number }>> {
    return Object.fromEntries(
      [...this.#times].map(([to, times]) => {
        const sorted = times.toSorted((a, b) => a - b);
        const at = (part: number): number => sorted[Math.floor(part * (sorted.length - 1))] ?? 0;
        return [to, { p50: at(0.5), p99: at(0.99) }];
      }),
    );
  }
}
