import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Route, RouteRules } from '@inmesh/core';
import { defaultClusterRules, defaultRetryRules, defaultRouteRules } from '@inmesh/resilience';
import type { TestMesh } from './harness.js';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A server of node:https with an identity of the mesh, and nothing else of it. */
export async function foreign(
  mesh: TestMesh,
  handler: Handler,
  name = 'orders',
): Promise<{ server: Server; port: number }> {
  const { certPem, keyPem } = await mesh.ca.issue(`/ns/default/sa/${name}`);
  const server = createServer(
    { cert: certPem, key: keyPem, ca: mesh.ca.bundlePem, requestCert: true, rejectUnauthorized: true },
    handler,
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  mesh.cleanup(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, port: (server.address() as AddressInfo).port };
}

export const text =
  (body: string, status = 200, headers: Record<string, string> = {}): Handler =>
  (request, response) => {
    request.resume().on('end', () => response.writeHead(status, headers).end(body));
  };

export const calls = (
  rules: Partial<RouteRules>,
  retry: Partial<RouteRules['retry']> = {},
): Partial<RouteRules> => ({
  ...rules,
  retry: { ...defaultRetryRules, ...retry },
});

export const route = (given: Partial<Route>): Route => ({
  name: 'test',
  matches: [],
  action: { kind: 'forward', backends: [{ cluster: 'orders' }] },
  rules: defaultRouteRules,
  origin: { source: 'test' } as never,
  ...given,
});

export const noOutlier = { ...defaultClusterRules, outlier: undefined };
