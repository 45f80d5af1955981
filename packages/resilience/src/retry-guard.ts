import { type Call, type ContextKey, contextKey, type Layer } from '@inmesh/core';

/** Header that says which attempt a request is; absent on the first. Envoy `include_request_attempt_count`. */
export const attemptHeader = 'x-envoy-attempt-count';
/** The same on gRPC, counted from 0. gRPC A6. */
export const grpcAttemptHeader = 'grpc-previous-rpc-attempts';

/** Set on an inbound call when a call made for it gave up on retries: whoever called us should not begin anew. */
const exhaustedKey: ContextKey<boolean> = contextKey('inmesh.retries-exhausted');
/** Set on an inbound call that is a retry itself. */
const retriedKey: ContextKey<boolean> = contextKey('inmesh.is-retry');

/** A call made in the handler of `parent` spent its retries. */
export function markExhausted(parent: Call | undefined): void {
  parent?.set(exhaustedKey, true);
}

/** Whether the reply to an inbound call must ask not to be repeated: what was made for it spent its retries. */
export function forbidsRetry(call: Call): boolean {
  return call.get(exhaustedKey) === true;
}

/** Whether a call is made in the handler of one that is itself a retry: layers of retries would multiply. */
export function isRetryOfCaller(parent: Call | undefined): boolean {
  return parent?.get(retriedKey) === true;
}

function isRetry(call: Call): boolean {
  const count = Number(call.headers.get(call.protocol === 'grpc' ? grpcAttemptHeader : attemptHeader) ?? 0);
  return call.protocol === 'grpc' ? count > 0 : count > 1;
}

/**
 * Layer of inbound calls against retries that multiply: notes that a call is a repetition, so that calls made for it
 * are repeated only where they provably reached nobody. Counts of attempts are believed from authenticated peers only.
 * The other way, {@link forbidsRetry} is told to the caller by the adapter.
 */
export function retryGuard(): Layer {
  return {
    role: 'retry-guard',
    scope: 'call',
    why: 'counts of attempts are believed only from callers that are let in',
    after: ['authorize'],
    bind({ side }) {
      if (side !== 'server') return undefined;
      return {
        request(call) {
          if (call.facts.connection.peer !== undefined && isRetry(call)) call.set(retriedKey, true);
          return undefined;
        },
      };
    },
  };
}
