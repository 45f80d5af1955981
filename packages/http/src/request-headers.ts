import type { IncomingHttpHeaders } from 'node:http';
import { FlatHeaders } from '@inmesh/core';

/** What a node:http or node:http2 request shows of its headers. */
export interface HeaderViews {
  /** Field lines as they came. */
  readonly rawHeaders: string[];
  /** The merged view. Made before anybody is asked, by the check of `Host`. */
  readonly headers: IncomingHttpHeaders;
}

/**
 * Headers of an inbound request over its own storage. Writes reach every view a framework may read: `rawHeaders`,
 * from which Node makes `headersDistinct` later, and `headers`, which exists already.
 */
export class RequestHeaders extends FlatHeaders {
  readonly #views: HeaderViews;

  /** @param views - The request. */
  constructor(views: HeaderViews) {
    super(views.rawHeaders);
    this.#views = views;
  }

  override set(name: string, value: string): void {
    super.set(name, value);
    this.#merge(name);
  }

  override append(name: string, value: string): void {
    super.append(name, value);
    this.#merge(name);
  }

  override delete(name: string): void {
    super.delete(name);
    this.#merge(name);
  }

  #merge(name: string): void {
    const lower = name.toLowerCase();
    const values = this.all(lower);
    const { headers } = this.#views;
    if (values.length === 0) delete headers[lower];
    else if (lower === 'set-cookie') headers[lower] = [...values];
    else headers[lower] = values.join(lower === 'cookie' ? '; ' : ', ');
  }
}
