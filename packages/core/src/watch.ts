import { MeshError } from './errors.js';
import { linkSignal } from './link-signal.js';

/** No value yet. */
export interface WatchPending {
  /** Tells the states apart. */
  readonly kind: 'pending';
  /** The last failure, if there was one. */
  readonly error: unknown;
}

/** There is a value. */
export interface WatchReady<T> {
  /** Tells the states apart. */
  readonly kind: 'ready';
  /** The last good value. */
  readonly value: T;
  /** Grows with each value. */
  readonly version: number;
  /** The failure since, if there was one; the value stays. */
  readonly error: unknown;
}

/** The value was withdrawn. */
export interface WatchGone {
  /** Tells the states apart. */
  readonly kind: 'gone';
  /** Why. */
  readonly error: MeshError;
}

/** State of a {@link Watch}. */
export type WatchState<T> = WatchPending | WatchReady<T> | WatchGone;

/** Called with each state of a {@link Watch}. */
export type WatchListener<T> = (state: WatchState<T>) => void;

/**
 * A current value and its changes. It keeps the last good value through failures, and can withdraw it.
 */
export interface Watch<T> {
  /** The state now. */
  readonly state: WatchState<T>;
  /**
   * The value now.
   *
   * @throws MeshError `INMESH_ERR_IDENTITY_GONE` or what the source withdrew it with, unless it is ready.
   */
  current(): T;
  /** Resolves with the first value; rejects when it is gone for good or the signal aborts. */
  ready(signal?: AbortSignal): Promise<T>;
  /**
   * Calls `listener` with the state now and after each change: in order, never re-entrantly, never after the
   * returned function was called.
   */
  subscribe(listener: WatchListener<T>): () => void;
}

/** The writing end of a {@link Watch}. */
export class WatchSource<T> implements Watch<T> {
  readonly #onListenerError: ((error: unknown) => void) | undefined;
  #state: WatchState<T> = { kind: 'pending', error: undefined };
  #version = 0;
  readonly #listeners = new Set<{ readonly notify: WatchListener<T> }>();
  readonly #queue: (() => void)[] = [];
  #isDraining = false;

  /**
   * @param onListenerError - Told of each error that a listener throws. Without it the first one surfaces where the
   * state was published, which only suits a publisher that can tell it from an error of its own.
   */
  constructor(onListenerError?: (error: unknown) => void) {
    this.#onListenerError = onListenerError;
  }

  get state(): WatchState<T> {
    return this.#state;
  }

  current(): T {
    const state = this.#state;
    if (state.kind === 'ready') return state.value;
    if (state.kind === 'gone') throw state.error;
    throw new MeshError('INMESH_ERR_IDENTITY_GONE', 'no value yet: the source is still starting', {
      cause: state.error,
    });
  }

  ready(signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const aborter = new AbortController();
      const unlink = linkSignal(signal, aborter);
      let isSettled = false;
      let unsubscribe: () => void = () => {};
      const settle = (finish: () => void): void => {
        if (isSettled) return;
        isSettled = true;
        unlink();
        unsubscribe();
        finish();
      };
      aborter.signal.addEventListener('abort', () => settle(() => reject(aborter.signal.reason as Error)));
      if (aborter.signal.aborted) {
        settle(() => reject(aborter.signal.reason as Error));
        return;
      }
      unsubscribe = this.subscribe((state) => {
        if (state.kind === 'ready') settle(() => resolve(state.value));
        else if (state.kind === 'gone') settle(() => reject(state.error));
      });
      if (isSettled) unsubscribe();
    });
  }

  subscribe(listener: WatchListener<T>): () => void {
    const entry = { notify: listener };
    this.#listeners.add(entry);
    this.#enqueue(this.#state, entry);
    return () => this.#listeners.delete(entry);
  }

  /** Publishes a new value. */
  set(value: T): void {
    this.#version++;
    this.#publish({ kind: 'ready', value, version: this.#version, error: undefined });
  }

  /** Records a failure; the last good value stays. */
  fail(error: unknown): void {
    const state = this.#state;
    if (state.kind === 'ready') this.#publish({ ...state, error });
    else if (state.kind === 'pending') this.#publish({ kind: 'pending', error });
  }

  /** Forgets a failure: the last good value is what there is to have. */
  recover(): void {
    const state = this.#state;
    if (state.kind === 'ready' && state.error !== undefined) this.#publish({ ...state, error: undefined });
  }

  /** Withdraws the value: identity expired, revoked or closed. A later {@link set} brings one back. */
  withdraw(error: MeshError): void {
    this.#publish({ kind: 'gone', error });
  }

  #publish(state: WatchState<T>): void {
    this.#state = state;
    for (const entry of this.#listeners) this.#queue.push(() => this.#notify(state, entry));
    this.#drain();
  }

  #enqueue(state: WatchState<T>, entry: { readonly notify: WatchListener<T> }): void {
    this.#queue.push(() => this.#notify(state, entry));
    this.#drain();
  }

  #notify(state: WatchState<T>, entry: { readonly notify: WatchListener<T> }): void {
    if (this.#listeners.has(entry)) entry.notify(state);
  }

  /** A listener that throws does not keep a state from the others. */
  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    const errors: unknown[] = [];
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      try {
        next();
      } catch (error) {
        if (this.#onListenerError === undefined) errors.push(error);
        else this.#onListenerError(error);
      }
    }
    this.#isDraining = false;
    if (errors.length > 0) throw errors[0];
  }
}
