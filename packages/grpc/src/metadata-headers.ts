import { Metadata } from '@grpc/grpc-js';
import type { Headers } from '@inmesh/core';

function toText(value: string | Buffer): string {
  return typeof value === 'string' ? value : value.toString('base64');
}

function toValue(name: string, text: string): string | Buffer {
  return name.toLowerCase().endsWith('-bin') ? Buffer.from(text, 'base64') : text;
}

/** Headers over grpc-js metadata; binary values are base64, as on the wire. */
export class MetadataHeaders implements Headers {
  readonly #metadata: Metadata;

  /** @param metadata - Written to. */
  constructor(metadata: Metadata) {
    this.#metadata = metadata;
  }

  get(name: string): string | undefined {
    return this.all(name)[0];
  }

  all(name: string): readonly string[] {
    return this.#metadata.get(name).map(toText);
  }

  has(name: string): boolean {
    return this.#metadata.get(name).length > 0;
  }

  set(name: string, value: string): void {
    this.#metadata.set(name, toValue(name, value));
  }

  append(name: string, value: string): void {
    this.#metadata.add(name, toValue(name, value));
  }

  delete(name: string): void {
    this.#metadata.remove(name);
  }

  forEach(visit: (name: string, value: string) => void): void {
    for (const name of Object.keys(this.#metadata.getMap()))
      for (const value of this.all(name)) visit(name, value);
  }
}
