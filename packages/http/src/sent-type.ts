import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';

interface WithHead {
  /** The head as node:http sent it, text and all. Private. */
  readonly _header?: unknown;
}

/**
 * The content type of a reply whose head was sent; `undefined` if it has none. node:http tells no header that was given
 * to `writeHead` itself, so this reads its own note of what it sent.
 */
export function sentType(response: (Http2ServerResponse | ServerResponse) & WithHead): string | undefined {
  if ('stream' in response) {
    const type = response.stream.sentHeaders['content-type'];
    return typeof type === 'string' ? type : undefined;
  }
  const { _header: head } = response;
  return typeof head === 'string' ? /^content-type: *([^\r\n]*)/im.exec(head)?.[1] : undefined;
}
