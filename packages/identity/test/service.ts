import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { type ConnectionFacts, type Runtime, silentLogger, systemRuntime } from '@inmesh/core';
import { expect } from 'vitest';
import {
  connectionFacts,
  createStaticIdentity,
  createTlsFrontEnd,
  type StaticIdentitySource,
  type TlsFrontEnd,
} from '../src/index.js';
import type { TestCa } from '../src/testing.js';

const logger = silentLogger;

/** What a test has opened. */
export const cleanups: (() => unknown)[] = [];

export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

export interface Service {
  readonly server: Server;
  readonly port: number;
  readonly frontEnd: TlsFrontEnd;
  readonly source: StaticIdentitySource;
  readonly seen: ConnectionFacts[];
}

/** Greets each verified peer with its SPIFFE ID. */
export async function startService(
  ca: TestCa,
  bundles: ReadonlyMap<string, string>,
  options: { readonly runtime?: Runtime; readonly hold?: boolean } = {},
): Promise<Service> {
  const { runtime = systemRuntime } = options;
  const { certPem, keyPem } = await ca.issue('/ns/default/sa/orders', { dnsNames: ['localhost'] });
  const source = createStaticIdentity({ certPem, keyPem, bundles, runtime, logger });
  const frontEnd = createTlsFrontEnd({ source, runtime, logger });
  const seen: ConnectionFacts[] = [];
  const greet = (socket: TLSSocket, facts: ConnectionFacts): void => {
    seen.push(facts);
    expect(connectionFacts(socket)).toBe(facts);
    const text = `${facts.peer?.id.uri ?? 'nobody'}\n`;
    if (options.hold) socket.write(text);
    else socket.end(text);
  };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    frontEnd.accept(socket, greet);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    frontEnd.close();
    await source.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { server, port: (server.address() as AddressInfo).port, frontEnd, source, seen };
}

/** A foreign TLS client: what it read, and how it ended. */
export function foreign(port: number, options: object): Promise<{ text: string; error: string }> {
  return new Promise((resolve) => {
    let text = '';
    let error = '';
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.on('error', (failure: NodeJS.ErrnoException) => (error = failure.code ?? failure.message));
    socket.on('close', () => resolve({ text, error }));
  });
}
