/**
 * Multi-valued view over a protocol's own header storage; a write reaches the wire and every view that the
 * application can read. Names compare without regard to case. Values are never joined or split.
 */
export interface Headers {
  /** First value of `name`. */
  get(name: string): string | undefined;
  /** Every value of `name`, one per field line, in order. */
  all(name: string): readonly string[];
  /** Whether `name` is there at all. */
  has(name: string): boolean;
  /** Replaces every value of `name` by one. */
  set(name: string, value: string): void;
  /** Adds a field line. */
  append(name: string, value: string): void;
  /** Removes every field line of `name`. */
  delete(name: string): void;
  /** Calls `visit` for every field line, in order. */
  forEach(visit: (name: string, value: string) => void): void;
}

function isSameName(candidate: string, lower: string): boolean {
  if (candidate.length !== lower.length) return false;
  if (candidate === lower) return true;
  for (let i = 0; i < lower.length; i++) {
    const code = candidate.charCodeAt(i);
    if ((code >= 65 && code <= 90 ? code + 32 : code) !== lower.charCodeAt(i)) return false;
  }
  return true;
}

/**
 * Headers over a flat array `[name, value, name, value, …]`: the form of node's `rawHeaders` and of undici.
 * Edits happen in that array.
 */
export class FlatHeaders implements Headers {
  /** The storage itself. */
  readonly raw: string[];

  /** @param raw - Names at even places, values at odd ones. */
  constructor(raw: string[]) {
    this.raw = raw;
  }

  get(name: string): string | undefined {
    const { raw } = this;
    const lower = name.toLowerCase();
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const candidate = raw[i];
      if (candidate !== undefined && isSameName(candidate, lower)) return raw[i + 1];
    }
    return undefined;
  }

  all(name: string): readonly string[] {
    const { raw } = this;
    const lower = name.toLowerCase();
    const values: string[] = [];
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const candidate = raw[i];
      const value = raw[i + 1];
      if (candidate !== undefined && value !== undefined && isSameName(candidate, lower)) values.push(value);
    }
    return values;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  set(name: string, value: string): void {
    const { raw } = this;
    const lower = name.toLowerCase();
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const candidate = raw[i];
      if (candidate === undefined || !isSameName(candidate, lower)) continue;
      raw[i + 1] = value;
      this.#removeFrom(i + 2, lower);
      return;
    }
    raw.push(name, value);
  }

  append(name: string, value: string): void {
    this.raw.push(name, value);
  }

  delete(name: string): void {
    this.#removeFrom(0, name.toLowerCase());
  }

  forEach(visit: (name: string, value: string) => void): void {
    const { raw } = this;
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const name = raw[i];
      const value = raw[i + 1];
      if (name !== undefined && value !== undefined) visit(name, value);
    }
  }

  #removeFrom(start: number, lower: string): void {
    const { raw } = this;
    let write = start;
    for (let read = start; read + 1 < raw.length; read += 2) {
      const name = raw[read];
      const value = raw[read + 1];
      if (name === undefined || value === undefined || isSameName(name, lower)) continue;
      if (write !== read) {
        raw[write] = name;
        raw[write + 1] = value;
      }
      write += 2;
    }
    if (write < raw.length) raw.length = write;
  }
}
