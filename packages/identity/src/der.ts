import { MeshError } from '@inmesh/core';

function bad(what: string): MeshError {
  return new MeshError('INMESH_ERR_CERTIFICATE_INVALID', `malformed DER: ${what}`);
}

/** One value of a DER encoding. */
export interface DerValue {
  /** Identifier octet. */
  readonly tag: number;
  /** Identifier, length and content. */
  readonly full: Buffer;
  /** Content octets. */
  readonly content: Buffer;
}

/**
 * Strict DER reader: definite, minimal lengths, no high tags, no trailing data where {@link DerReader.finish}
 * is called. X.690 §10. Throws `INMESH_ERR_CERTIFICATE_INVALID`, nothing else.
 */
export class DerReader {
  readonly #bytes: Buffer;
  #at = 0;

  /** @param bytes - What to read, all of it. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Tag of the next value, -1 at the end. */
  peek(): number {
    return this.#bytes[this.#at] ?? -1;
  }

  /** Reads the next value; with `tag`, only that one. */
  next(tag?: number): DerValue {
    const start = this.#at;
    const found = this.#bytes[start];
    if (found === undefined || start + 2 > this.#bytes.length) throw bad('truncated');
    if ((found & 0x1f) === 0x1f) throw bad('high tag number');
    if (tag !== undefined && found !== tag) {
      throw bad(`tag 0x${found.toString(16)} where 0x${tag.toString(16)} belongs`);
    }
    this.#at = start + 1;
    const length = this.#length();
    const from = this.#at;
    if (length > this.#bytes.length - from) throw bad('value is longer than its container');
    this.#at = from + length;
    return {
      tag: found,
      full: this.#bytes.subarray(start, this.#at),
      content: this.#bytes.subarray(from, this.#at),
    };
  }

  /** Reads the next value and returns a reader of its content. */
  enter(tag: number): DerReader {
    return new DerReader(this.next(tag).content);
  }

  /** Refuses trailing data. */
  finish(): void {
    if (this.#at < this.#bytes.length) throw bad('trailing data');
  }

  #length(): number {
    const first = this.#bytes[this.#at++] ?? 0;
    if (first < 0x80) return first;
    const octets = first & 0x7f;
    if (octets === 0 || octets > 4) throw bad('length form');
    if (this.#bytes.length - this.#at < octets) throw bad('truncated length');
    const length = this.#bytes.readUIntBE(this.#at, octets);
    this.#at += octets;
    if (length < 0x80 || (octets > 1 && length < 2 ** (8 * (octets - 1)))) throw bad('length is not minimal');
    return length;
  }
}

/** Reads an OBJECT IDENTIFIER as dotted text. */
export function readOid(value: DerValue): string {
  const parts: number[] = [];
  let current = 0;
  let isStart = true;
  for (const octet of value.content) {
    if (isStart && octet === 0x80) throw bad('padded object identifier');
    current = current * 128 + (octet & 0x7f);
    if (current > Number.MAX_SAFE_INTEGER) throw bad('object identifier too large');
    isStart = (octet & 0x80) === 0;
    if (!isStart) continue;
    if (parts.length === 0) {
      const first = current < 80 ? Math.floor(current / 40) : 2;
      parts.push(first, current - 40 * first);
    } else parts.push(current);
    current = 0;
  }
  if (!isStart || parts.length === 0) throw bad('truncated object identifier');
  return parts.join('.');
}

/** Reads a BOOLEAN: 0x00 or 0xff. */
export function readBoolean(value: DerValue): boolean {
  const octet = value.content[0];
  if (value.content.length !== 1 || (octet !== 0 && octet !== 0xff)) throw bad('boolean');
  return octet === 0xff;
}

/** Reads the octets of an INTEGER, as few as there can be. */
export function readInteger({ content }: DerValue): Buffer {
  const [first = 0, second = 0] = content;
  if (content.length === 0) throw bad('integer');
  // Nine equal bits in front: one octet less says the same. X.690 §8.3.2.
  const isPadded = content.length > 1 && (second < 0x80 ? first === 0 : first === 0xff);
  if (isPadded) throw bad('integer is not minimal');
  return content;
}

/** Reads a non-negative INTEGER below 2^47. */
export function readSmallInteger(value: DerValue): number {
  const content = readInteger(value);
  if (content.length > 6 || (content[0] ?? 0) >= 0x80) throw bad('integer');
  return content.readUIntBE(0, content.length);
}

/** Reads the octets of a BIT STRING of named bits that is not empty: unused bits and trailing zeros are no choice. */
export function readNamedBits({ content }: DerValue): Buffer {
  const [unused = 8, ...octets] = content;
  const last = octets.at(-1) ?? 0;
  // The last bit that is used is the last that is set. X.690 §11.2.
  if (unused > 7 || (last & ((2 << unused) - 1)) !== 1 << unused) throw bad('named bits');
  return content.subarray(1);
}

/** UTCTime and GeneralizedTime by tag. */
const timeForms: Readonly<Record<number, RegExp>> = {
  0x17: /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/,
  0x18: /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/,
};

/** Reads a UTCTime or GeneralizedTime of RFC 5280 §4.1.2.5 as milliseconds since 1970. */
export function readTime(value: DerValue): number {
  const text = value.content.toString('latin1');
  const isUtc = value.tag === 0x17;
  const match = timeForms[value.tag]?.exec(text);
  if (!match) throw bad('time');
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const century = isUtc ? (year < 50 ? 2000 : 1900) : 0;
  const ms = Date.UTC(century + year, month - 1, day, hour, minute, second);
  const check = new Date(ms);
  // 31 February, 24 o'clock and second 60 roll over into something else.
  const digits = check.toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  if (digits.slice(-text.length) !== text) throw bad('time');
  return ms;
}

/** Encodes one value. */
export function encode(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const octets = body.length < 0x100 ? 1 : body.length < 0x1_0000 ? 2 : 3;
  const head = Buffer.alloc(2 + octets);
  head[0] = tag;
  head[1] = 0x80 | octets;
  head.writeUIntBE(body.length, 2, octets);
  return Buffer.concat([head, body]);
}

/** Encodes a SEQUENCE. */
export function sequence(...content: readonly Uint8Array[]): Buffer {
  return encode(0x30, ...content);
}

/** Encodes an OBJECT IDENTIFIER. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const octets = [first * 40 + second];
  for (const part of rest) {
    const septets = [part & 0x7f];
    for (let high = Math.floor(part / 128); high > 0; high = Math.floor(high / 128))
      septets.unshift(0x80 | (high & 0x7f));
    octets.push(...septets);
  }
  return encode(0x06, Buffer.from(octets));
}

/** Encodes an INTEGER from big-endian magnitude octets. */
export function integer(magnitude: Uint8Array): Buffer {
  let from = 0;
  while (from < magnitude.length - 1 && magnitude[from] === 0) from++;
  const trimmed = magnitude.subarray(from);
  return (trimmed[0] ?? 0) >= 0x80 ? encode(0x02, Buffer.from([0]), trimmed) : encode(0x02, trimmed);
}

/** Encodes a time as RFC 5280 §4.1.2.5 wants it: UTCTime through 2049. */
export function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return new Date(ms).getUTCFullYear() < 2050
    ? encode(0x17, Buffer.from(digits.slice(2), 'latin1'))
    : encode(0x18, Buffer.from(digits, 'latin1'));
}
