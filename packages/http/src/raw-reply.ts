import { peerMetadataHeader, peerMetadataIdHeader } from '@inmesh/core';
import type { DriverReply } from '@inmesh/resilience';
import { markedFrom, markerHeaders } from '@inmesh/resilience';
import type { RawField } from './legacy-handler.js';

/** Names of headers, found by their length first. */
class Names {
  readonly #names: ReadonlySet<string>;
  readonly #lengths: ReadonlySet<number>;

  constructor(names: readonly string[]) {
    this.#names = new Set(names);
    this.#lengths = new Set(names.map((name) => name.length));
  }

  has(field: RawField | undefined): boolean {
    return (
      field !== undefined && this.#lengths.has(field.length) && this.#names.has(text(field).toLowerCase())
    );
  }
}

const markers = new Names(markerHeaders);
const introductions = new Names([peerMetadataHeader, peerMetadataIdHeader]);

function text(field: RawField | undefined): string {
  if (field === undefined) return '';
  if (typeof field === 'string') return field;
  return Buffer.isBuffer(field) ? field.toString('latin1') : field.map((one) => String(one)).join(', ');
}

/** The head of a reply as it came from the wire; nothing is decoded unless somebody asks. */
export class RawReply implements DriverReply {
  readonly httpStatus: number;
  readonly grpcStatus = undefined;
  /** Every connection of a pool is secured and its peer's identity checked. */
  readonly isTrusted = true;
  readonly #raw: readonly RawField[];
  readonly #isIntroduction: boolean;

  /**
   * @param raw - Names at even places, values at odd ones.
   * @param isIntroduction - Whether the peer may say in it who it is.
   */
  constructor(httpStatus: number, raw: readonly RawField[], isIntroduction = false) {
    this.httpStatus = httpStatus;
    this.#raw = raw;
    this.#isIntroduction = isIntroduction;
  }

  header(name: string): string | undefined {
    const raw = this.#raw;
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const field = raw[i];
      if (field !== undefined && field.length === name.length && text(field).toLowerCase() === name)
        return text(raw[i + 1]);
    }
    return undefined;
  }

  /** Field lines for the caller: what says that a call was not processed, and who the peer is, is not his to pass on. */
  forCaller(): readonly RawField[] {
    const unmarked = this.httpStatus < markedFrom ? this.#raw : without(markers, this.#raw);
    return this.#isIntroduction ? without(introductions, unmarked) : unmarked;
  }
}

/** The same list if nothing is to be left out, as most of the time. */
function without(names: Names, raw: readonly RawField[]): readonly RawField[] {
  if (!raw.some((field, index) => index % 2 === 0 && names.has(field))) return raw;
  const kept: RawField[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2)
    if (!names.has(raw[i])) kept.push(raw[i] ?? '', raw[i + 1] ?? '');
  return kept;
}
