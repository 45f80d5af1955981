import { stringify } from 'node:querystring';
import { Readable } from 'node:stream';
import { FlatHeaders, type Headers, type Runtime } from '@inmesh/core';
import {
  attemptHeader,
  deadlineHeader,
  type Forward,
  formatDeadline,
  type RoutedRequest,
} from '@inmesh/resilience';
import type { Dispatcher } from 'undici';
import { type BodyReader, ReplayBody } from './replay-body.js';

/** What the caller wrote about its place among retries and deadlines is not passed on: it is ours to say. */
const ownHeaders: readonly string[] = [deadlineHeader, attemptHeader];

const unusedServername = 'mesh';

/** Options of undici that are its own and pass through. */
interface Extras {
  readonly expectContinue?: boolean;
  readonly typeOfService?: number | null;
}

/** What has parts and no position, so that undici itself can send it again. */
function isReplayedByUndici(body: unknown): boolean {
  if (body === undefined || body === null || typeof body === 'string') return true;
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return true;
  if (typeof body !== 'object' || 'pipe' in body || 'getReader' in body) return false;
  // Blob and FormData, of whichever undici.
  const isBlob = 'arrayBuffer' in body && 'stream' in body && 'size' in body;
  return isBlob || ('append' in body && 'getAll' in body);
}

/** A body as something to read once; `undefined` if it is nothing of the kind. */
function toIterable(body: unknown): AsyncIterable<unknown> | Iterable<unknown> | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  if (Symbol.asyncIterator in body) return body as AsyncIterable<unknown>;
  // A stream of the old kind, such as those of the package form-data.
  if ('pipe' in body && 'on' in body) return new Readable().wrap(body as NodeJS.ReadableStream);
  return Symbol.iterator in body ? (body as Iterable<unknown>) : undefined;
}

/** The target with the `query` of undici's options in it: routes look at both. */
function targetOf({ path, query }: Dispatcher.DispatchOptions): string {
  if (query === undefined || query === null || /[?#]/.test(path)) return path;
  const text = stringify(query as Parameters<typeof stringify>[0]);
  return text === '' ? path : `${path}?${text}`;
}

/** Field lines of one attempt. */
type AddedLines = readonly (readonly [name: string, value: string])[];

/** Field lines, some of which are ours to say: of a span that the caller cannot know, or who we are. */
function linesWith(headers: FlatHeaders, added: AddedLines): string[] {
  const copy = new FlatHeaders([...headers.raw]);
  for (const [name, value] of added) copy.set(name, value);
  return copy.raw;
}

/** A request for one attempt. */
export interface PreparedRequest {
  /** For undici. */
  readonly options: Dispatcher.DispatchOptions;
  /** Reads a streamed body for this attempt alone. */
  readonly reader: BodyReader | undefined;
}

/** A request as the caller gave it, in the form in which attempts send it. */
export class OutboundRequest implements RoutedRequest {
  readonly method: string;
  readonly target: string;
  readonly scheme: string;
  readonly authority: string;
  readonly headers: FlatHeaders;
  readonly #given: Dispatcher.DispatchOptions & Extras;
  #body: ReplayBody | undefined;
  #isOpaque = false;

  /**
   * @param headers - Field lines; layers and routes write to them.
   * @param authority - Host and port as the caller named them.
   */
  constructor(given: Dispatcher.DispatchOptions, headers: FlatHeaders, authority: string) {
    this.#given = given;
    this.method = given.method;
    this.target = targetOf(given);
    this.scheme = String(given.origin ?? '').startsWith('https:') ? 'https' : 'http';
    this.authority = authority.toLowerCase();
    this.headers = headers;
    for (const name of ownHeaders) if (headers.has(name)) headers.delete(name);
  }

  /** Path without query. */
  get path(): string {
    const { target } = this;
    const end = target.search(/[?#]/);
    return end === -1 ? target : target.slice(0, end);
  }

  /** Whether it can be sent from its first byte. */
  get isReplayable(): boolean {
    return this.#body?.isReplayable ?? !this.#isOpaque;
  }

  header(name: string): string | undefined {
    return this.headers.get(name);
  }

  /** Keeps up to `maxBytes` of a streamed body for another attempt. */
  keepBody(maxBytes: number): void {
    const body: unknown = this.#given.body;
    if (isReplayedByUndici(body)) return;
    const source = toIterable(body);
    if (source === undefined) this.#isOpaque = true;
    else this.#body = new ReplayBody(source, maxBytes);
  }

  /** Nothing will be sent again. */
  commit(): void {
    this.#body?.commit();
  }

  /** The call is over. */
  end(): void {
    this.#body?.end();
  }

  /** The request for an attempt; a streamed body is read by one attempt at a time, each from its beginning. */
  prepare(
    forward: Forward | undefined,
    deadlineMs: number,
    attempt: number,
    runtime: Pick<Runtime, 'now'>,
    added: AddedLines = [],
  ): PreparedRequest {
    const given = this.#given;
    const reader = this.#body?.open();
    const options = {
      path: forward?.target ?? this.target,
      method: given.method,
      body: (reader ?? given.body) as Dispatcher.DispatchOptions['body'],
      headers: this.#fieldLines(deadlineMs, attempt, runtime, added),
      blocking: given.blocking,
      upgrade: given.upgrade,
      headersTimeout: given.headersTimeout,
      bodyTimeout: given.bodyTimeout,
      reset: given.reset,
      expectContinue: given.expectContinue,
      typeOfService: given.typeOfService,
      // For TLS of undici's own, which is not used; without it undici looks whether the host is an IP address.
      servername: unusedServername,
    };
    return { options: options as Dispatcher.DispatchOptions, reader };
  }

  /** Silence on the wire: a header is added only where it says something. */
  #fieldLines(
    deadlineMs: number,
    attempt: number,
    runtime: Pick<Runtime, 'now'>,
    added: AddedLines,
  ): string[] {
    const { raw } = this.headers;
    const isPlain = attempt === 1 && deadlineMs === Number.POSITIVE_INFINITY && added.length === 0;
    if (isPlain) return raw;
    const lines = added.length === 0 ? [...raw] : linesWith(this.headers, added);
    // A deadline that has passed is caught before; less than a millisecond says the same as 1.
    if (deadlineMs !== Number.POSITIVE_INFINITY)
      lines.push(deadlineHeader, formatDeadline(deadlineMs, runtime.now()) ?? '1');
    if (attempt > 1) lines.push(attemptHeader, String(attempt));
    return lines;
  }
}

/** Names the authority in the headers, unless the caller did. */
export function nameHost(headers: Headers, authority: string): void {
  if (!headers.has('host')) headers.append('host', authority);
}
