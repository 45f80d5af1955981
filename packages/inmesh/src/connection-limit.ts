import type { Server } from 'node:http';
import type { Socket } from 'node:net';

function keyOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/**
 * Bounds the connections of a server where new ones matter more than old ones: a kubelet that cannot open one for its
 * probe restarts the process. Beyond the limit the oldest gives way that has no request to be answered, else the
 * oldest.
 */
export class ConnectionLimit {
  readonly #max: number;
  readonly #open = new Map<string, Socket>();
  readonly #busy = new Set<string>();

  /** @param server - Its connections are counted from here on. @param max - At once. */
  constructor(server: Server, max: number) {
    this.#max = max;
    server.on('connection', (socket: Socket) => this.#add(socket));
  }

  /** A request came over a connection, plain or secured; it gives way last until `closed`. */
  onRequest(socket: Socket, closed: { once(event: 'close', listener: () => void): unknown }): void {
    const key = keyOf(socket);
    this.#busy.add(key);
    closed.once('close', () => this.#busy.delete(key));
  }

  #add(socket: Socket): void {
    const key = keyOf(socket);
    if (this.#open.size >= this.#max) this.#makeRoom();
    this.#open.set(key, socket);
    socket.once('close', () => {
      if (this.#open.get(key) === socket) this.#open.delete(key);
    });
  }

  #makeRoom(): void {
    let oldest: string | undefined;
    for (const key of this.#open.keys()) {
      oldest ??= key;
      if (this.#busy.has(key)) continue;
      oldest = key;
      break;
    }
    if (oldest === undefined) return;
    // Its close comes later: it must not be counted until then.
    this.#open.get(oldest)?.destroy();
    this.#open.delete(oldest);
  }
}
