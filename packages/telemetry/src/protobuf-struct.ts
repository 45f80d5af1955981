import { createRequire } from 'node:module';
import type * as Protobuf from 'protobufjs/minimal.js';

/** Texts of a `google.protobuf.Struct`, and of the structs that are directly in it. */
export interface StructFields {
  readonly [name: string]: string | Readonly<Record<string, string>>;
}

let protobuf: typeof Protobuf | undefined;

/** Loaded when a peer is met for the first time. */
function wire(): typeof Protobuf {
  protobuf ??= createRequire(import.meta.url)('protobufjs/minimal.js') as typeof Protobuf;
  return protobuf;
}

/** Field numbers with their wire type, as tags, of `google/protobuf/struct.proto`; all are length-delimited. */
const tags = { fields: 10, key: 10, value: 18, text: 26, struct: 42 } as const;

function writeStruct(writer: Protobuf.Writer, fields: StructFields): void {
  // Sorted, so that the same workload always says the same bytes.
  for (const name of Object.keys(fields).toSorted()) {
    const value = fields[name] ?? '';
    writer.uint32(tags.fields).fork();
    writer.uint32(tags.key).string(name);
    writer.uint32(tags.value).fork();
    if (typeof value === 'string') writer.uint32(tags.text).string(value);
    else {
      writer.uint32(tags.struct).fork();
      writeStruct(writer, value);
      writer.ldelim();
    }
    writer.ldelim().ldelim();
  }
}

/** A `google.protobuf.Struct` in its wire format. */
export function encodeStruct(fields: StructFields): Uint8Array {
  const writer = wire().Writer.create();
  writeStruct(writer, fields);
  return writer.finish();
}

type Value = StructFields[string];

/** @param depth - Structs that may still be in it; what lies deeper is skipped. */
function readValue(reader: Protobuf.Reader, depth: number): Value | undefined {
  const end = reader.uint32() + reader.pos;
  let value: Value | undefined;
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === tags.text) value = reader.string();
    else if (tag === tags.struct && depth > 0)
      value = readStruct(reader, reader.uint32() + reader.pos, depth - 1) as Record<string, string>;
    else reader.skipType(tag & 7);
  }
  return value;
}

function readStruct(reader: Protobuf.Reader, end: number, depth: number): StructFields {
  // No prototype: a peer may name a field as it likes.
  const fields = Object.create(null) as Record<string, Value>;
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag !== tags.fields) {
      reader.skipType(tag & 7);
      continue;
    }
    const entryEnd = reader.uint32() + reader.pos;
    let name = '';
    let value: Value | undefined;
    while (reader.pos < entryEnd) {
      const entryTag = reader.uint32();
      if (entryTag === tags.key) name = reader.string();
      else if (entryTag === tags.value) value = readValue(reader, depth);
      else reader.skipType(entryTag & 7);
    }
    if (value !== undefined) fields[name] = value;
  }
  return fields;
}

/**
 * Reads what is text of a `google.protobuf.Struct`, and of the structs in it.
 *
 * @throws Error of protobufjs where it is cut short or no such message.
 */
export function decodeStruct(bytes: Uint8Array): StructFields {
  const reader = wire().Reader.create(bytes);
  return readStruct(reader, reader.len, 1);
}
