import type { Call, MeshError } from '@inmesh/core';

/** An outbound RPC in flight, linked into {@link LiveRpcs}. */
export interface LiveRpc {
  /** What layers see of it, where there are layers. */
  readonly seen: Call | undefined;
  /** Ends it. */
  end(error: MeshError): void;
  /** Link, owned by {@link LiveRpcs}; start with `undefined`. */
  liveNext: LiveRpc | undefined;
  /** Link, owned by {@link LiveRpcs}; start with `undefined`. */
  livePrevious: LiveRpc | undefined;
}

/** The outbound RPCs of a mesh: an intrusive list, so that joining and leaving allocate nothing. */
export class LiveRpcs {
  #first: LiveRpc | undefined;
  #waiters: (() => void)[] = [];

  /** One begins. */
  add(rpc: LiveRpc): void {
    rpc.liveNext = this.#first;
    if (this.#first !== undefined) this.#first.livePrevious = rpc;
    this.#first = rpc;
  }

  /** One has ended; told once. */
  delete(rpc: LiveRpc): void {
    if (rpc.livePrevious === undefined) this.#first = rpc.liveNext;
    else rpc.livePrevious.liveNext = rpc.liveNext;
    if (rpc.liveNext !== undefined) rpc.liveNext.livePrevious = rpc.livePrevious;
    rpc.liveNext = undefined;
    rpc.livePrevious = undefined;
    if (this.#first !== undefined || this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  /** Ends all of them. */
  endAll(error: MeshError): void {
    for (let rpc = this.#first; rpc !== undefined; ) {
      const next: LiveRpc | undefined = rpc.liveNext;
      rpc.end(error);
      rpc = next;
    }
  }

  /** Calls `visit` for every one that layers see. */
  forEach(visit: (call: Call) => void): void {
    for (let rpc = this.#first; rpc !== undefined; rpc = rpc.liveNext)
      if (rpc.seen !== undefined) visit(rpc.seen);
  }

  /** Resolves when none is in flight. */
  whenIdle(): Promise<void> {
    if (this.#first === undefined) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }
}
