import { AsyncLocalStorage } from 'node:async_hooks';
import type { Call } from './call.js';

/**
 * Carries the inbound call to the outbound calls made in its handler. One per mesh: one `run` per inbound
 * call, one read per outbound call.
 */
export class CallContext {
  readonly #storage = new AsyncLocalStorage<Call>();

  /** The inbound call whose handler is running. */
  current(): Call | undefined {
    return this.#storage.getStore();
  }

  /** Runs a handler inside `call`. */
  run<R>(call: Call, handler: () => R): R {
    return this.#storage.run(call, handler);
  }
}
