import type { Call, Headers } from '@inmesh/core';
import { forbidsRetry, markedFrom, markerHeaders, noRetryHeader } from '@inmesh/resilience';
import type { AnyResponse } from './local-reply.js';

function asList(value: number | string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === 'object' ? value : [String(value)];
}

/** Headers of a reply that is about to be sent, over the response's own storage. */
class ResponseHeaders implements Headers {
  readonly #response: AnyResponse;

  /** @param response - Not yet sent. */
  constructor(response: AnyResponse) {
    this.#response = response;
  }

  get(name: string): string | undefined {
    return this.all(name)[0];
  }

  all(name: string): readonly string[] {
    return asList(this.#response.getHeader(name));
  }

  has(name: string): boolean {
    return this.#response.hasHeader(name);
  }

  set(name: string, value: string): void {
    this.#response.setHeader(name, value);
  }

  append(name: string, value: string): void {
    this.#response.setHeader(name, [...this.all(name), value]);
  }

  delete(name: string): void {
    this.#response.removeHeader(name);
  }

  forEach(visit: (name: string, value: string) => void): void {
    for (const name of this.#response.getHeaderNames())
      for (const value of this.all(name)) visit(name, value);
  }
}

/** Adds the headers that were given to `writeHead` itself to those that were set before. */
function keepGiven(response: AnyResponse, given: unknown): void {
  if (typeof given !== 'object' || given === null) return;
  if (!Array.isArray(given)) {
    for (const [name, value] of Object.entries(given))
      if (value !== undefined) response.setHeader(name, value as string);
    return;
  }
  const flat: readonly unknown[] = given.flat();
  const lists = new Map<string, string[]>();
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = String(flat[i]).toLowerCase();
    lists.set(name, [...(lists.get(name) ?? []), ...[flat[i + 1]].flat().map(String)]);
  }
  for (const [name, values] of lists)
    response.setHeader(name, values.length === 1 ? (values[0] ?? '') : values);
}

type WriteHead = (this: AnyResponse, statusCode: number, ...rest: unknown[]) => AnyResponse;

const callKey: unique symbol = Symbol('inmesh.call');
/** The `writeHead` that somebody put before ours, such as the watcher of heads below. */
const writeHeadKey: unique symbol = Symbol('inmesh.writeHead');

interface Guarded {
  [callKey]?: Call;
  [writeHeadKey]?: WriteHead;
}

/** Shared by all responses: no closure per request. */
function writeHeadWithoutMarkers(
  this: AnyResponse & Guarded,
  statusCode: number,
  ...rest: unknown[]
): AnyResponse {
  const original = this[writeHeadKey] ?? (Object.getPrototypeOf(this) as { writeHead: WriteHead }).writeHead;
  if (statusCode < markedFrom) return original.call(this, statusCode, ...rest);
  const reason = typeof rest[0] === 'string' ? rest[0] : undefined;
  keepGiven(this, reason === undefined ? rest[0] : rest[1]);
  for (const name of markerHeaders) if (this.hasHeader(name)) this.removeHeader(name);
  const call = this[callKey];
  if (statusCode >= 500 && call !== undefined && forbidsRetry(call)) this.setHeader(noRetryHeader, '1');
  return reason === undefined ? original.call(this, statusCode) : original.call(this, statusCode, reason);
}

/**
 * Takes out of an application's reply what only we may say: that a call was not processed, or not to be repeated. An
 * application that relays the headers of an upstream would say it of itself, and be called again. Where retries were
 * spent on its behalf, its failure says so.
 */
export function guardMarkers(response: AnyResponse & Guarded, call: Call): void {
  response[callKey] = call;
  if (Object.hasOwn(response, 'writeHead')) response[writeHeadKey] = response.writeHead as WriteHead;
  response.writeHead = writeHeadWithoutMarkers as typeof response.writeHead;
}

/** Calls `onHead` when the application writes the head of its reply, however it does. */
export function watchHead(
  response: AnyResponse,
  onHead: (httpStatus: number, headers: Headers) => void,
): void {
  const original = response.writeHead as (
    this: AnyResponse,
    statusCode: number,
    reason?: string,
  ) => AnyResponse;
  const writeHead = (statusCode: number, ...rest: unknown[]): AnyResponse => {
    response.writeHead = original as typeof response.writeHead;
    const reason = typeof rest[0] === 'string' ? rest[0] : undefined;
    keepGiven(response, reason === undefined ? rest[0] : rest[1]);
    if (statusCode >= 200) onHead(statusCode, new ResponseHeaders(response));
    return reason === undefined
      ? original.call(response, statusCode)
      : original.call(response, statusCode, reason);
  };
  response.writeHead = writeHead as typeof response.writeHead;
}
