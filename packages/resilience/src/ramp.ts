import type { SlowStartRules } from '@inmesh/core';

/**
 * Share of its weight that an endpoint in slow start gets: (elapsed / window)^(1 / aggression), at least the minimum.
 *
 * @param elapsedMs - Since it joined.
 * @param windowMs - Length of its ramp, where that is not the one of the rules.
 * @returns 0 to 1.
 * @see {@link https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/slow_start | Envoy slow start}
 */
export function rampFactor(
  rules: SlowStartRules,
  elapsedMs: number,
  windowMs: number = rules.windowMs,
): number {
  if (elapsedMs >= windowMs) return 1;
  const share = Math.max(0, elapsedMs) / windowMs;
  return Math.max(rules.minWeightPercent / 100, share ** (1 / rules.aggression));
}
