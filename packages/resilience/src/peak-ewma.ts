import type { EndpointState } from './endpoint-state.js';

/** Time constant of the average, in milliseconds. Finagle, Linkerd and Envoy agree on 10 s. */
const decayMs = 10_000;
/** Cost of a failure, in milliseconds: an endpoint that fails at once must not look fast. Linkerd. */
export const failurePenaltyMs = 5000;

/** Failures in a row after which an endpoint {@link isFailing}: fewer are what overload or chance looks like. */
const failuresInRow = 2;
/** How long that holds, in milliseconds, unless it fails again: then it is tried once more. */
const failingMs = 1000;
/** Greater than any ratio of two loads: 24 hours by 2^32 calls, against a millionth of a millisecond. */
const beyondAll = 1e24;

/**
 * Whether an endpoint fails one call after the other, now. Its cost does not say so: it began at
 * {@link failurePenaltyMs}, as that of one that failed a few seconds ago and is well again. Where no more endpoints may
 * be ejected, calls would be shared between the two.
 */
export function isFailing(endpoint: EndpointState, nowMs: number): boolean {
  return endpoint.failuresInRow >= failuresInRow && endpoint.failedAtMs + failingMs > nowMs;
}

/** Cost of an endpoint now: its average fades while it gets no calls, so that it is tried again. */
function costNow(endpoint: EndpointState, nowMs: number): number {
  const elapsed = nowMs - endpoint.costAtMs;
  return elapsed <= 0 ? endpoint.costMs : endpoint.costMs * Math.exp(-elapsed / decayMs);
}

/**
 * Whether `a` would cost less than `b`: the same as comparing {@link ewmaLoad}. Both fade alike, so that only the time
 * between their last samples counts, and often not even that: half of the exponentials of a pick are not needed, and
 * the other half is one instead of two.
 */
export function isCheaper(a: EndpointState, b: EndpointState, nowMs: number): boolean {
  const isFailingA = isFailing(a, nowMs);
  if (isFailingA !== isFailing(b, nowMs)) return !isFailingA;
  const costA = a.costMs * (a.active + 1);
  const costB = b.costMs * (b.active + 1);
  const laterMs = a.costAtMs - b.costAtMs;
  if (laterMs >= 0 ? costA >= costB : costA < costB) return laterMs < 0;
  return costA * Math.exp(laterMs / decayMs) < costB;
}

/** What picking an endpoint would cost: latency by calls in flight; that of one that fails is beyond all others. */
export function ewmaLoad(endpoint: EndpointState, nowMs: number): number {
  const load = costNow(endpoint, nowMs) * (endpoint.active + 1);
  return isFailing(endpoint, nowMs) ? load * beyondAll : load;
}

/**
 * Records a time to the head: at once if it is worse than the average, slowly if it is better.
 *
 * @see {@link https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/loadbalancer/PeakEwma.scala | Finagle PeakEwma}
 */
export function observeLatency(endpoint: EndpointState, latencyMs: number, nowMs: number): void {
  const elapsed = Math.max(0, nowMs - endpoint.costAtMs);
  if (latencyMs >= endpoint.costMs) endpoint.costMs = latencyMs;
  else {
    const weight = Math.exp(-elapsed / decayMs);
    endpoint.costMs = endpoint.costMs * weight + latencyMs * (1 - weight);
  }
  endpoint.costAtMs = nowMs;
}
