import type { Server } from 'node:http';
import { type PathEquivalence, toHttpServer } from './frameworks.js';
import type { HttpListener, HttpListenerOptions } from './http-contract.js';
import { createHttpListener } from './http-listener.js';

export { httpPeer } from './http-peer.js';

/** What of a Fastify instance is used. */
export interface FastifyApplication {
  /** Its server. */
  readonly server: Server;
  /** Loads its plugins. */
  ready(): PromiseLike<unknown>;
}

/** What the router of `app` takes for the same path; for `compilePolicies`. */
export function fastifyEquivalence(app: FastifyApplication): PathEquivalence {
  return toHttpServer(app).equivalence;
}

/** Puts the mesh before a Fastify application, without `createMesh`. Call `app.listen()` next. */
export function createFastifyListener(
  app: FastifyApplication,
  options: Omit<HttpListenerOptions, 'server'>,
): HttpListener {
  return createHttpListener({ ...options, server: toHttpServer(app).server });
}
