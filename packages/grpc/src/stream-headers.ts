import { FlatHeaders } from '@inmesh/core';

/** Headers of an inbound stream over both of its views: field lines, and the merged record grpc-js reads. */
export class StreamHeaders extends FlatHeaders {
  readonly #merged: Record<string, string | string[] | undefined>;

  /** @param merged - Merged view of `raw`. */
  constructor(raw: string[], merged: Record<string, string | string[] | undefined>) {
    super(raw);
    this.#merged = merged;
  }

  override set(name: string, value: string): void {
    super.set(name, value);
    this.#merge(name);
  }

  override append(name: string, value: string): void {
    super.append(name.toLowerCase(), value);
    this.#merge(name);
  }

  override delete(name: string): void {
    super.delete(name);
    this.#merge(name);
  }

  #merge(name: string): void {
    const lower = name.toLowerCase();
    const values = this.all(lower);
    if (values.length === 0) delete this.#merged[lower];
    else this.#merged[lower] = values.join(', ');
  }
}
