import type { OutgoingHttpHeaders } from 'node:http2';
import type { Headers } from '@inmesh/core';
import { headerFault } from './local-reply.js';

/**
 * Headers over the record that node:http2 sends: what layers write is in it, and nothing is copied. What cannot be sent
 * throws here, where the layer is at fault, rather than where it is sent.
 */
export class ReplyHeaders implements Headers {
  readonly #record: OutgoingHttpHeaders;

  /** @param record - Lower-case names. */
  constructor(record: OutgoingHttpHeaders) {
    this.#record = record;
  }

  get(name: string): string | undefined {
    const value = this.#record[name.toLowerCase()];
    const first = Array.isArray(value) ? value[0] : value;
    return first === undefined ? undefined : String(first);
  }

  all(name: string): readonly string[] {
    const value = this.#record[name.toLowerCase()];
    return value === undefined ? [] : [value].flat().map(String);
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  set(name: string, value: string): void {
    if (name === ':status') {
      // node:http2 wants a number here.
      this.#record[name] = Number(value);
      return;
    }
    const fault = headerFault(name, value);
    if (fault !== undefined) throw new Error(fault);
    this.#record[name.toLowerCase()] = value;
  }

  append(name: string, value: string): void {
    const before = this.all(name);
    if (before.length === 0 || headerFault(name, value) !== undefined) this.set(name, value);
    else this.#record[name.toLowerCase()] = [...before, value];
  }

  delete(name: string): void {
    delete this.#record[name.toLowerCase()];
  }

  forEach(visit: (name: string, value: string) => void): void {
    for (const name of Object.keys(this.#record)) for (const value of this.all(name)) visit(name, value);
  }
}
