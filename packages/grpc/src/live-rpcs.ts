import type { MeshError } from '@inmesh/core';

/** An outbound RPC in flight. */
export interface LiveRpc {
  /** Ends it. */
  end(error: MeshError): void;
}

/** The outbound RPCs of a mesh. */
export class LiveRpcs {
  readonly #rpcs = new Set<LiveRpc>();
  #waiters: (() => void)[] = [];

  /** How many are in flight, to their last byte. */
  get size(): number {
    return this.#rpcs.size;
  }

  /** One begins. */
  add(rpc: LiveRpc): void {
    this.#rpcs.add(rpc);
  }

  /** One has ended. */
  delete(rpc: LiveRpc): void {
    this.#rpcs.delete(rpc);
    if (this.#rpcs.size > 0 || this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  /** Ends all of them. */
  endAll(error: MeshError): void {
    for (const rpc of this.#rpcs) rpc.end(error);
  }

  /** Resolves when none is in flight. */
  whenIdle(): Promise<void> {
    if (this.#rpcs.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }
}
