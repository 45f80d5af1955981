import { type Call, contextKey, type Layer, MeshError, type Runtime, type Timer } from '@inmesh/core';

/** Header in which a deadline travels over HTTP: whole milliseconds that are left. Envoy. */
export const deadlineHeader = 'x-envoy-expected-rq-timeout-ms';

/** Part of the time left that is kept for the way back, in milliseconds, at least. */
const slackMs = 1;

/** Longest number that {@link deadlineHeader} may hold: eleven days. */
const maxDigits = 9;
const zero = '0'.charCodeAt(0);

/**
 * Text for {@link deadlineHeader}.
 *
 * @returns `undefined` if nothing is left to give.
 */
export function formatDeadline(deadlineMs: number, nowMs: number): string | undefined {
  const leftMs = Math.floor(deadlineMs - nowMs - slackMs);
  return leftMs > 0 ? String(leftMs) : undefined;
}

/** Reads {@link deadlineHeader}: milliseconds; `undefined` if it is not one. */
export function parseDeadline(value: string | undefined): number | undefined {
  if (value === undefined || value === '' || value.length > maxDigits) return undefined;
  let leftMs = 0;
  // No pattern: this reads a header of almost every request.
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - zero;
    if (digit < 0 || digit > 9) return undefined;
    leftMs = leftMs * 10 + digit;
  }
  return leftMs;
}

/** The deadline of an outbound call: the caller's own total, and what its inbound call has left. */
export function outboundDeadlineMs(parent: Call | undefined, timeoutMs: number, nowMs: number): number {
  const own = timeoutMs > 0 ? nowMs + timeoutMs : Number.POSITIVE_INFINITY;
  return Math.min(own, parent?.deadlineMs ?? Number.POSITIVE_INFINITY);
}

function expired(call: Call): MeshError {
  return new MeshError('INMESH_ERR_DEADLINE_EXCEEDED', `the deadline of ${call.facts.path} has passed`, {
    stackless: true,
    reached: 'refused',
  });
}

/** Ends an inbound call when its time is over. */
class Expiry implements Timer {
  timerNext: Timer | undefined = undefined;
  timerPrev: Timer | undefined = undefined;
  timerDueMs = 0;
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }

  onTimer(): void {
    const { path } = this.#call.facts;
    this.#call.cancel(
      new MeshError(
        'INMESH_ERR_DEADLINE_EXCEEDED',
        `the handler of ${path} did not end before the deadline`,
        {
          stackless: true,
        },
      ),
    );
  }
}

/**
 * Layer of inbound calls: takes over the caller's deadline, refuses what is late already, and ends what becomes late.
 * Believed from authenticated peers only. gRPC's own deadline is read by the adapter; grpc-js ends its calls itself.
 */
export function deadline(runtime: Runtime): Layer {
  const expiry = contextKey<Timer>('inmesh.expiry');
  return {
    role: 'deadline',
    scope: 'call',
    why: 'only callers that are let in may say how long we work for them',
    after: ['authorize'],
    bind({ side }) {
      if (side !== 'server') return undefined;
      return {
        request(call) {
          let nowMs: number | undefined;
          if (call.protocol !== 'grpc') {
            if (call.facts.connection.peer === undefined) return undefined;
            const value = call.headers.get(deadlineHeader);
            if (value === undefined) return undefined;
            const leftMs = parseDeadline(value);
            if (leftMs === undefined) return undefined;
            nowMs = runtime.now();
            call.tightenDeadline(nowMs + leftMs);
          }
          if (call.deadlineMs === Number.POSITIVE_INFINITY) return undefined;
          nowMs ??= runtime.now();
          const leftMs = call.deadlineMs - nowMs;
          if (leftMs <= 0) return { kind: 'reject', error: expired(call) };
          if (call.protocol === 'grpc') return undefined;
          const timer = new Expiry(call);
          call.set(expiry, timer);
          runtime.arm(timer, leftMs, nowMs);
          return undefined;
        },
        end(call) {
          const timer = call.get(expiry);
          if (timer === undefined) return;
          runtime.disarm(timer);
        },
      };
    },
  };
}
