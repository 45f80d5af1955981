import type { FlatHeaders, Headers } from '@inmesh/core';
import {
  attemptHeader,
  deadlineHeader,
  type Forward,
  formatDeadline,
  type RoutedRequest,
} from '@inmesh/resilience';
import type { Dispatcher } from 'undici';
import { ReplayBody } from './replay-body.js';

/** What the caller wrote about its place among retries and deadlines is not passed on: it is ours to say. */
const ownHeaders: readonly string[] = [deadlineHeader, attemptHeader];

const unusedServername = 'mesh';

/** Options of undici that are its own and pass through. */
interface Extras {
  readonly expectContinue?: boolean;
  readonly typeOfService?: number | null;
}

function isReplayedByUndici(body: unknown): boolean {
  return (
    body === undefined ||
    body === null ||
    typeof body === 'string' ||
    ArrayBuffer.isView(body) ||
    body instanceof ArrayBuffer ||
    // Blob and FormData, of whichever undici: they have parts, and no position.
    (typeof body === 'object' && ('arrayBuffer' in body || ('append' in body && 'getAll' in body)))
  );
}

function isIterable(body: unknown): body is AsyncIterable<unknown> | Iterable<unknown> {
  return (
    typeof body === 'object' && body !== null && (Symbol.asyncIterator in body || Symbol.iterator in body)
  );
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

  /**
   * @param headers - Field lines; layers and routes write to them.
   * @param authority - Host and port as the caller named them.
   */
  constructor(given: Dispatcher.DispatchOptions, headers: FlatHeaders, authority: string) {
    this.#given = given;
    this.method = given.method;
    this.target = given.path;
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
    return this.#body?.isReplayable ?? true;
  }

  header(name: string): string | undefined {
    return this.headers.get(name);
  }

  /** Keeps up to `maxBytes` of a streamed body for another attempt. */
  keepBody(maxBytes: number): void {
    const body: unknown = this.#given.body;
    if (!isReplayedByUndici(body) && isIterable(body)) this.#body = new ReplayBody(body, maxBytes);
  }

  /** Nothing will be sent again. */
  commit(): void {
    this.#body?.commit();
  }

  /** The attempt that read the body is over. */
  stopReading(): void {
    this.#body?.stopReading();
  }

  /** The call is over. */
  end(): void {
    this.#body?.end();
  }

  /** The request for an attempt. */
  toDispatch(
    forward: Forward | undefined,
    deadlineMs: number,
    attempt: number,
    nowMs: number,
  ): Dispatcher.DispatchOptions {
    const given = this.#given;
    const options = {
      path: forward?.target ?? given.path,
      method: given.method,
      // A body is read by one attempt at a time, each from its beginning.
      body: (this.#body?.open() ?? given.body) as Dispatcher.DispatchOptions['body'],
      headers: this.#fieldLines(deadlineMs, attempt, nowMs),
      query: given.query,
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
    return options as Dispatcher.DispatchOptions;
  }

  /** Silence on the wire: a header is added only where it says something. */
  #fieldLines(deadlineMs: number, attempt: number, nowMs: number): string[] {
    const { raw } = this.headers;
    const isPlain = attempt === 1 && deadlineMs === Number.POSITIVE_INFINITY;
    if (isPlain) return raw;
    const lines = [...raw];
    // A deadline that has passed is caught before; less than a millisecond says the same as 1.
    if (deadlineMs !== Number.POSITIVE_INFINITY)
      lines.push(deadlineHeader, formatDeadline(deadlineMs, nowMs) ?? '1');
    if (attempt > 1) lines.push(attemptHeader, String(attempt));
    return lines;
  }
}

/** Names the authority in the headers, unless the caller did. */
export function nameHost(headers: Headers, authority: string): void {
  if (!headers.has('host')) headers.append('host', authority);
}
