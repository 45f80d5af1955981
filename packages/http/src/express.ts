import type { RequestListener } from 'node:http';
import { type PathEquivalence, toHttpServer } from './frameworks.js';
import type { HttpListener, HttpListenerOptions } from './http-contract.js';
import { createHttpListener } from './http-listener.js';

export { httpPeer } from './http-peer.js';

/** What Express's router takes for the same path; for `compilePolicies`. */
export const expressEquivalence: PathEquivalence = Object.freeze({
  isCaseInsensitive: true,
  ignoresTrailingSlash: true,
  decodesEscapes: false,
  cutsAtSemicolon: false,
});

/** Puts the mesh before an Express 4 or 5 application, without `createMesh`. Call `listener.server.listen()` next. */
export function createExpressListener(
  app: RequestListener,
  options: Omit<HttpListenerOptions, 'server' | 'http2'>,
): HttpListener {
  return createHttpListener({ ...options, server: toHttpServer(app).server });
}
