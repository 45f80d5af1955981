import { connect as connectTcp } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import type { RunningService } from './fleet.js';

/** What came of an attempt. */
export interface Attempt {
  /** Who tried. */
  readonly who: string;
  /** Every byte that came back. */
  readonly reply: string;
  /** What ended it, if it was no reply. */
  readonly error: string;
}

const request = 'GET /admin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';

/** Asks for `/admin` over TLS with whatever certificate, or none. */
export function tryTls(
  who: string,
  { host, port }: RunningService,
  options: ConnectionOptions,
): Promise<Attempt> {
  return new Promise((resolve) => {
    let reply = '';
    let error = '';
    const socket = connectTls({
      host,
      port,
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
      ...options,
    });
    socket.on('secureConnect', () => socket.write(request));
    socket.on('data', (chunk: Buffer) => {
      reply += chunk.toString('latin1');
    });
    socket.on('error', (reason: NodeJS.ErrnoException) => {
      error = reason.code ?? reason.message;
    });
    socket.on('close', () => resolve({ who, reply, error }));
  });
}

/** Asks for `/admin` in plaintext. */
export function tryPlaintext(who: string, { host, port }: RunningService): Promise<Attempt> {
  return new Promise((resolve) => {
    let reply = '';
    let error = '';
    const socket = connectTcp({ host, port }, () => socket.write(request));
    socket.on('data', (chunk: Buffer) => {
      reply += chunk.toString('latin1');
    });
    socket.on('error', (reason: NodeJS.ErrnoException) => {
      error = reason.code ?? reason.message;
    });
    socket.on('close', () => resolve({ who, reply, error }));
  });
}
