import type { Call } from './call.js';
import type { Halt, Verdict } from './layer.js';

/** A running inbound call, linked into {@link LiveCalls}. The adapter's per-call object implements it. */
export interface LiveCall {
  /** The call itself. */
  readonly call: Call;
  /** Decides again under the policy in force; usually `plan.recheck(call)` of the new plan. */
  recheck(): Verdict;
  /** Ends the call because the new policy halts it. */
  onRevoked(halt: Halt): void;
  /** The time to drain is over: gives the call the end that its protocol has, if it has one for a call under way. */
  conclude(): void;
  /** Link, owned by {@link LiveCalls}; start with `undefined`. */
  liveNext: LiveCall | undefined;
  /** Link, owned by {@link LiveCalls}; start with `undefined`. */
  livePrevious: LiveCall | undefined;
}

/** The inbound calls in flight: an intrusive list, so that joining and leaving allocate nothing. */
export class LiveCalls {
  #first: LiveCall | undefined;
  #size = 0;
  #waiters: (() => void)[] = [];

  /** How many calls are in flight, to their last byte. */
  get size(): number {
    return this.#size;
  }

  /** A call begins. */
  add(live: LiveCall): void {
    live.livePrevious = undefined;
    live.liveNext = this.#first;
    if (this.#first !== undefined) this.#first.livePrevious = live;
    this.#first = live;
    this.#size++;
  }

  /** A call has ended; harmless the second time. */
  delete(live: LiveCall): void {
    if (this.#first !== live && live.livePrevious === undefined) return;
    if (live.livePrevious === undefined) this.#first = live.liveNext;
    else live.livePrevious.liveNext = live.liveNext;
    if (live.liveNext !== undefined) live.liveNext.livePrevious = live.livePrevious;
    live.liveNext = undefined;
    live.livePrevious = undefined;
    this.#size--;
    if (this.#size > 0 || this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  /** Decides every running call again; returns how many were stopped. */
  recheckAll(): number {
    let stopped = 0;
    for (let live = this.#first; live !== undefined; ) {
      const next: LiveCall | undefined = live.liveNext;
      const verdict = live.recheck();
      if (verdict !== undefined) {
        stopped++;
        live.onRevoked(verdict);
      }
      live = next;
    }
    return stopped;
  }

  /** Calls `visit` for every call in flight. It may end the call it is given. */
  forEach(visit: (live: LiveCall) => void): void {
    for (let live = this.#first; live !== undefined; ) {
      const next: LiveCall | undefined = live.liveNext;
      visit(live);
      live = next;
    }
  }

  /** Resolves when no call is in flight. */
  whenIdle(): Promise<void> {
    if (this.#size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }
}
