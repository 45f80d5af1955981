import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { silentLogger, systemRuntime } from '@inmesh/core';
import { createStaticIdentity, createTlsFrontEnd } from '@inmesh/identity';
import { createTestCa, type TestCa } from '@inmesh/identity/testing';

/**
 * How a peer goes wrong. `refuse`: nobody listens. `reset`: the connection is reset at once. `stall`: it is accepted
 * and nothing is ever said. `garbage`: bytes that are no TLS. `wrong-identity`: a good handshake of somebody else.
 */
export type Fault = 'garbage' | 'refuse' | 'reset' | 'stall' | 'wrong-identity';

/** A peer that goes wrong. */
export interface FaultPeer {
  /** Port on 127.0.0.1. */
  readonly port: number;
  /** Connections it has seen. */
  readonly connections: number;
  /** Ends it. */
  close(): Promise<void>;
}

/** What {@link createFaultPeer} may be told. */
export interface FaultPeerOptions {
  /** Authority of a `wrong-identity` peer. @defaultValue one of its own, which nobody trusts */
  readonly ca?: TestCa;
  /** Path of the SPIFFE ID of a `wrong-identity` peer. @defaultValue `/ns/default/sa/impostor` */
  readonly identity?: string;
}

type Behave = (socket: Socket) => void;

async function behaviour(
  fault: Fault,
  { ca, identity = '/ns/default/sa/impostor' }: FaultPeerOptions,
): Promise<{ readonly behave: Behave; readonly end: () => Promise<void> }> {
  const nothing = (): Promise<void> => Promise.resolve();
  if (fault === 'reset') return { behave: (socket) => socket.resetAndDestroy(), end: nothing };
  if (fault === 'garbage')
    return { behave: (socket) => void socket.end('\u0000\u0001\u0002 this is no TLS \r\n'), end: nothing };
  if (fault !== 'wrong-identity') return { behave: (socket) => void socket.resume(), end: nothing };
  const authority = ca ?? (await createTestCa('impostor.test'));
  const { certPem, keyPem } = await authority.issue(identity);
  const source = createStaticIdentity({
    certPem,
    keyPem,
    bundles: new Map([[authority.trustDomain, authority.bundlePem]]),
    runtime: systemRuntime,
    logger: silentLogger,
  });
  const tls = createTlsFrontEnd({ source, runtime: systemRuntime, logger: silentLogger });
  return {
    behave: (socket) => tls.accept(socket, (secured) => void secured.resume()),
    async end() {
      tls.close();
      await source.close();
    },
  };
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Starts a peer that goes wrong in one way, on 127.0.0.1. */
export async function createFaultPeer(fault: Fault, options: FaultPeerOptions = {}): Promise<FaultPeer> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const { behave, end } = await behaviour(fault, options);
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => sockets.delete(socket));
    behave(socket);
  });
  const port = await listen(server);
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    if (server.listening) {
      server.close();
      await once(server, 'close');
    }
    await end();
  };
  if (fault === 'refuse') await close();
  return {
    port,
    get connections() {
      return connections;
    },
    close,
  };
}
