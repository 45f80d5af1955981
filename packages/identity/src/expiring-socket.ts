import type { TLSSocket } from 'node:tls';
import { createTimer, type Runtime } from '@inmesh/core';

const longestMs = 86_400_000;

const lifeKey: unique symbol = Symbol.for('inmesh.connection-life/1');

interface Life {
  readonly bornMs: number;
  readonly endMs: number;
}

interface Mortal {
  [lifeKey]?: Life;
}

/**
 * Whether a connection is past half of its life: it still works, and takes no new call, so that none is cut with it.
 *
 * @param wallMs - Now.
 */
export function isRetired(socket: unknown, wallMs: number): boolean {
  const life = typeof socket === 'object' && socket !== null ? (socket as Mortal)[lifeKey] : undefined;
  return life !== undefined && wallMs >= (life.bornMs + life.endMs) / 2;
}

/** Cuts a connection when the certificate that its peer proved itself with expires. */
export function cutAt(socket: TLSSocket, notAfterMs: number, runtime: Runtime): void {
  (socket as Mortal)[lifeKey] = { bornMs: runtime.wallMs(), endMs: notAfterMs };
  const arm = (): void => runtime.arm(timer, Math.min(notAfterMs - runtime.wallMs(), longestMs));
  const timer = createTimer(() => {
    if (runtime.wallMs() >= notAfterMs) socket.destroy();
    else arm();
  });
  arm();
  socket.once('close', () => runtime.disarm(timer));
}
