import type { IncomingHttpHeaders } from 'node:http';
import { FlatHeaders } from '@inmesh/core';

/** What a node:http or node:http2 request shows of its headers. */
export interface HeaderViews {
  /** Field lines as they came. */
  readonly rawHeaders: string[];
  /** The merged view. Made before anybody is asked, by the check of `Host`. */
  readonly headers: IncomingHttpHeaders;
  /** The view of lists; node:http only. */
  headersDistinct?: NodeJS.Dict<string[]>;
}

/**
 * Headers of an inbound request over its own storage. Writes reach every view a framework may read: `rawHeaders`,
 * `headers` and `headersDistinct`.
 */
export class RequestHeaders extends FlatHeaders {
  /** `:path` as policies know it: normalized, with its query. Routers change the `url` of a request. */
  target: string | undefined;
  readonly #views: HeaderViews;

  /** @param views - The request. */
  constructor(views: HeaderViews) {
    super(views.rawHeaders);
    this.#views = views;
  }

  override get(name: string): string | undefined {
    return name === ':path' ? this.target : super.get(name);
  }

  override all(name: string): readonly string[] {
    if (name !== ':path') return super.all(name);
    return this.target === undefined ? [] : [this.target];
  }

  override set(name: string, value: string): void {
    this.#prepare();
    super.set(name, value);
    this.#merge(name);
  }

  override append(name: string, value: string): void {
    this.#prepare();
    super.append(name, value);
    this.#merge(name);
  }

  override delete(name: string): void {
    this.#prepare();
    super.delete(name);
    this.#merge(name);
  }

  /** Node makes its views lazily and counts lines as they came: it must have made them before lines change. */
  #prepare(): void {
    void this.#views.headers;
    if ('headersDistinct' in this.#views) void this.#views.headersDistinct;
  }

  #merge(name: string): void {
    const lower = name.toLowerCase();
    const values = this.all(lower);
    const { headers, headersDistinct } = this.#views;
    if (headersDistinct !== undefined) {
      if (values.length === 0) delete headersDistinct[lower];
      else headersDistinct[lower] = [...values];
    }
    if (values.length === 0) delete headers[lower];
    else if (lower === 'set-cookie') headers[lower] = [...values];
    else headers[lower] = values.join(lower === 'cookie' ? '; ' : ', ');
  }
}
