import type { DriverReply } from '@inmesh/resilience';
import { markedFrom, markerHeaders } from '@inmesh/resilience';
import type { RawField } from './legacy-handler.js';

const markers: ReadonlySet<string> = new Set(markerHeaders);
const markerLengths: ReadonlySet<number> = new Set(markerHeaders.map((name) => name.length));

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

  /** @param raw - Names at even places, values at odd ones. */
  constructor(httpStatus: number, raw: readonly RawField[]) {
    this.httpStatus = httpStatus;
    this.#raw = raw;
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

  /** Field lines for the caller: what says that a call was not processed is not his to pass on. */
  forCaller(): readonly RawField[] {
    const raw = this.#raw;
    if (this.httpStatus < markedFrom || !this.#hasMarkers()) return raw;
    const kept: RawField[] = [];
    for (let i = 0; i + 1 < raw.length; i += 2) {
      if (markers.has(text(raw[i]).toLowerCase())) continue;
      kept.push(raw[i] ?? '', raw[i + 1] ?? '');
    }
    return kept;
  }

  #hasMarkers(): boolean {
    const raw = this.#raw;
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const field = raw[i];
      if (field !== undefined && markerLengths.has(field.length) && markers.has(text(field).toLowerCase()))
        return true;
    }
    return false;
  }
}
