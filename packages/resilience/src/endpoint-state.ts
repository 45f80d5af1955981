import type { Endpoint, SlowStartRules } from '@inmesh/core';

/** Cost of an endpoint that has not answered yet, in milliseconds. Envoy's `default_rtt`. */
export const unknownCostMs = 10;

/** How an attempt ended, as far as its endpoint is to blame. */
export type AttemptResult =
  /** It answered well. */
  | 'ok'
  /** It answered with a failure of its own. */
  | 'error'
  /** It answered 502, 503 or 504. */
  | 'gateway-error'
  /** It could not be reached, broke the connection, or took too long. */
  | 'local-error'
  /** Nobody can tell: the caller left, or the attempt was never made. */
  | 'unknown';

/** Endpoints that a call was sent to before the last one; most calls have none. */
export interface Tried {
  /** One. */
  readonly endpoint: EndpointState;
  /** Those before it. */
  readonly before: Tried | undefined;
}

/** Whether an endpoint is in a list. */
export function wasTried(endpoint: EndpointState, tried: Tried | undefined): boolean {
  for (let one = tried; one !== undefined; one = one.before) if (one.endpoint === endpoint) return true;
  return false;
}

/** `host:port`, brackets around an IPv6 address. */
export function endpointKey({ host, port }: Endpoint): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** What is known of one endpoint. It survives snapshots: an endpoint keeps its record while it is configured. */
export class EndpointState {
  /** `host:port`. */
  readonly key: string;
  /** Where it is and how much it gets; replaced with the configuration. */
  endpoint: Endpoint;
  /** Attempts in flight, to their last byte. */
  active = 0;
  /** Attempts ever started. */
  started = 0;
  /** Peak EWMA of the time to the head, in milliseconds, as of {@link costAtMs}. */
  costMs = unknownCostMs;
  /** When {@link costMs} was true. */
  costAtMs: number;
  /** Failures of any kind in a row, whatever the rules of ejection count. */
  failuresInRow = 0;
  /** When it failed last. */
  failedAtMs = Number.NEGATIVE_INFINITY;
  /** When its share began to grow; `-Infinity` if it has its full share. */
  rampFromMs = Number.NEGATIVE_INFINITY;
  /** How long its share grows, in milliseconds. */
  rampMs = 0;
  /** Whether it is out of balancing. */
  isEjected = false;
  /** Until when. */
  ejectedUntilMs = 0;
  /** Whether it came back and has not answered well yet: it gets few calls at once. */
  isOnProbation = false;
  /** Whether it is configured no more; attempts in flight finish. */
  isGone = false;
  /** 5xx replies in a row. */
  errorsInRow = 0;
  /** 502, 503, 504 in a row. */
  gatewayErrorsInRow = 0;
  /** Failed connections, resets, timeouts in a row. */
  localErrorsInRow = 0;
  /** Replies that were fine in this interval. */
  successes = 0;
  /** Failures in this interval. */
  failures = 0;
  /** How much longer the next ejection lasts. Envoy's `backoff`. */
  ejections = 0;
  /** Deadline in the earliest-deadline-first queue of weighted balancers. */
  edfDeadline = 0;

  /** @param nowMs - When it joined. */
  constructor(key: string, endpoint: Endpoint, nowMs: number) {
    this.key = key;
    this.endpoint = endpoint;
    this.costAtMs = nowMs;
  }

  /** Share against its siblings, slow start apart. */
  get weight(): number {
    return this.endpoint.weight ?? 1;
  }

  /** Puts the record of its latency and failures back to that of a newcomer. */
  forget(nowMs: number): void {
    this.costMs = unknownCostMs;
    this.costAtMs = nowMs;
    this.failuresInRow = 0;
    this.errorsInRow = 0;
    this.gatewayErrorsInRow = 0;
    this.localErrorsInRow = 0;
  }
}

/**
 * Endpoints as they are configured now: what is known of those that were there before stays.
 *
 * @param slowStart - For those that join others; `undefined` gives them their full share at once.
 */
export function mergeEndpoints(
  before: ReadonlyMap<string, EndpointState>,
  endpoints: readonly Endpoint[],
  slowStart: SlowStartRules | undefined,
  nowMs: number,
): Map<string, EndpointState> {
  const states = new Map<string, EndpointState>();
  for (const endpoint of endpoints) {
    const key = endpointKey(endpoint);
    if (states.has(key)) continue;
    let state = before.get(key);
    if (state === undefined) {
      state = new EndpointState(key, endpoint, nowMs);
      if (slowStart !== undefined && before.size > 0) {
        state.rampFromMs = nowMs;
        state.rampMs = slowStart.windowMs;
      }
    } else state.endpoint = endpoint;
    states.set(key, state);
  }
  for (const [key, state] of before) if (!states.has(key)) state.isGone = true;
  return states;
}
