import type { TLSSocket } from 'node:tls';
import { createTimer, type Runtime } from '@inmesh/core';

const longestMs = 86_400_000;

/** Cuts a connection when the certificate that its peer proved itself with expires. */
export function cutAt(socket: TLSSocket, notAfterMs: number, runtime: Runtime): void {
  const arm = (): void => runtime.arm(timer, Math.min(notAfterMs - runtime.wallMs(), longestMs));
  const timer = createTimer(() => {
    if (runtime.wallMs() >= notAfterMs) socket.destroy();
    else arm();
  });
  arm();
  socket.once('close', () => runtime.disarm(timer));
}
