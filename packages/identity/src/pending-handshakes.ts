import type { Socket } from 'node:net';

/** At least this many handshakes of one address, whatever the bound. */
const leastShare = 16;

/**
 * Everything on this host comes from a loopback address, a proxy beside us and its thousands of callers included, and
 * who attacks from there is inside already: only the bound of all applies. The same where there is no address.
 */
function isShared(remoteIp: string): boolean {
  return remoteIp === '' || remoteIp === '::1' || remoteIp.startsWith('127.');
}

/**
 * Handshakes under way, bounded in all and per address. At a bound the oldest gives way and not the newest: an honest
 * handshake takes milliseconds, so the oldest are those that never meant to end, and holding sockets open keeps
 * nobody out.
 */
export class PendingHandshakes {
  readonly #limit: number;
  /** Oldest first. */
  readonly #all = new Map<Socket, string>();
  readonly #byIp = new Map<string, Set<Socket>>();

  /** Bound of one address: a quarter of all, at least 16. */
  readonly share: number;

  /** @param limit - Bound of all. */
  constructor(limit: number) {
    this.#limit = limit;
    this.share = Math.max(leastShare, Math.floor(limit / 4));
  }

  /** How many there are. */
  get size(): number {
    return this.#all.size;
  }

  /** Adds one. Returns the one that has to give way to it. */
  add(socket: Socket, remoteIp: string): Socket | undefined {
    const oldest = this.#oldest(remoteIp);
    // At once, not when its end is told: many may come before that.
    if (oldest !== undefined) this.delete(oldest);
    this.#all.set(socket, remoteIp);
    const siblings = this.#byIp.get(remoteIp);
    if (siblings === undefined) this.#byIp.set(remoteIp, new Set([socket]));
    else siblings.add(socket);
    return oldest;
  }

  /** Takes one out. Returns whether it was there. */
  delete(socket: Socket): boolean {
    const remoteIp = this.#all.get(socket);
    if (remoteIp === undefined) return false;
    this.#all.delete(socket);
    const siblings = this.#byIp.get(remoteIp);
    siblings?.delete(socket);
    if (siblings?.size === 0) this.#byIp.delete(remoteIp);
    return true;
  }

  /** Takes all out. */
  drain(): Socket[] {
    const sockets = [...this.#all.keys()];
    this.#all.clear();
    this.#byIp.clear();
    return sockets;
  }

  #oldest(remoteIp: string): Socket | undefined {
    const siblings = isShared(remoteIp) ? undefined : this.#byIp.get(remoteIp);
    if (siblings !== undefined && siblings.size >= this.share) return siblings.values().next().value;
    return this.#all.size < this.#limit ? undefined : this.#all.keys().next().value;
  }
}
