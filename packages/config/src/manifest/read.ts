import { isPlainObject } from '../shape.js';
import type { Report } from './diagnostic.js';
import type { IstioKind } from './field-tree.js';
import type { Locate, Path } from './locate.js';

/** A document of Istio whose names and types are right. */
export interface Manifest {
  /** Its kind. */
  readonly kind: IstioKind;
  /** Its name. */
  readonly name: string;
  /** Its namespace; that of the reader where it names none. */
  readonly namespace: string | undefined;
  /** Its `spec`. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** All of it. */
  readonly json: unknown;
  /** Finds places in it. */
  readonly locate: Locate;
}

/** A place in a document, with what stands there. The types were checked before: what has another type is not there. */
export class Cursor {
  readonly #value: unknown;
  readonly #locate: Locate;
  readonly #report: Report;
  /** Where it is. */
  readonly path: Path;

  constructor(value: unknown, path: Path, locate: Locate, report: Report) {
    this.#value = value;
    this.path = path;
    this.#locate = locate;
    this.#report = report;
  }

  /** What stands here. */
  get value(): unknown {
    return this.#value;
  }

  /** Whether something stands here. */
  get isThere(): boolean {
    return this.#value !== undefined;
  }

  /** Where it stands. */
  get origin(): ReturnType<Locate> {
    return this.#locate(this.path);
  }

  /** Where its name stands. */
  get keyOrigin(): ReturnType<Locate> {
    return this.#locate(this.path, true);
  }

  /** A field of it. */
  at(key: string): Cursor {
    return new Cursor(
      isPlainObject(this.#value) ? this.#value[key] : undefined,
      [...this.path, key],
      this.#locate,
      this.#report,
    );
  }

  /** Its elements; none if there is no list. */
  get items(): readonly Cursor[] {
    if (!Array.isArray(this.#value)) return [];
    return this.#value.map((one, i) => new Cursor(one, [...this.path, i], this.#locate, this.#report));
  }

  /** Its entries; none if there is no mapping. */
  get entries(): readonly (readonly [string, Cursor])[] {
    if (!isPlainObject(this.#value)) return [];
    return Object.keys(this.#value).map((key) => [key, this.at(key)]);
  }

  /** The text here. */
  get text(): string | undefined {
    return typeof this.#value === 'string' ? this.#value : undefined;
  }

  /** The number here. */
  get number(): number | undefined {
    return typeof this.#value === 'number' ? this.#value : undefined;
  }

  /** The truth here. */
  get truth(): boolean | undefined {
    return typeof this.#value === 'boolean' ? this.#value : undefined;
  }

  /** Says that what stands here is wrong. */
  wrong(message: string): undefined {
    this.#report({ code: 'INMESH_ERR_CONFIG_INVALID', origin: this.origin, message });
    return undefined;
  }

  /** Says that what stands here is not supported. @param field - As the table of fields has it. */
  unsupported(message: string, field: string): undefined {
    this.#report({
      code: 'INMESH_ERR_CONFIG_UNSUPPORTED',
      origin: this.origin,
      message: `${message} is not supported`,
      field,
    });
    return undefined;
  }
}

/** The `spec` of a document. */
export function specOf({ spec, locate }: Manifest, report: Report): Cursor {
  return new Cursor(spec, ['spec'], locate, report);
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Reads a duration of Istio, in milliseconds: `1.5s`, `1h30m`. Reports what is none, and what is below `minMs`. */
export function durationAt(at: Cursor, minMs: number): number | undefined {
  const { text } = at;
  if (text === undefined) return undefined;
  if (!/^(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+$/.test(text)) {
    const meant = /^\d+$/.test(text) ? `; did you mean "${text}s" or "${text}ms"?` : '';
    return at.wrong(`"${text}" is no duration such as 250ms, 2s or 1m30s${meant}`);
  }
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)];
  const ms = parts.reduce((sum, [, digits, unit = 's']) => sum + Number(digits) * (unitMs[unit] ?? 0), 0);
  if (ms < minMs) return at.wrong(`"${text}" is shorter than ${minMs} ms`);
  return Math.round(ms);
}
