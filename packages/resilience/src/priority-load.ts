/** Health of one priority level. */
export interface LevelHealth {
  /** Endpoints that may be picked. */
  readonly healthy: number;
  /** Endpoints in all. */
  readonly total: number;
}

/** How traffic spreads over priority levels. */
export interface PriorityLoad {
  /** Percent of traffic by level; sums to 100 unless there is no endpoint at all. */
  readonly percent: readonly number[];
  /** Levels that use all of their endpoints, healthy or not. */
  readonly isPanicking: readonly boolean[];
}

/**
 * Spreads traffic over priority levels, in whole percents as Envoy does.
 *
 * @param overprovisioning - Envoy's factor / 100: 1.4 lets a level of 72 % health take everything.
 * @param panicPercent - Below this health a level panics, if all levels together cannot take everything.
 * @see {@link https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority | Envoy priority levels}
 */
export function priorityLoad(
  levels: readonly LevelHealth[],
  overprovisioning: number,
  panicPercent: number,
): PriorityLoad {
  const factor = Math.round(overprovisioning * 100);
  const health = levels.map(({ healthy, total }) =>
    total === 0 ? 0 : Math.min(100, Math.floor((factor * healthy) / total)),
  );
  const sum = Math.min(
    100,
    health.reduce((a, b) => a + b, 0),
  );
  const isPanicking = levels.map(
    ({ healthy, total }) => sum < 100 && total > 0 && (100 * healthy) / total < panicPercent,
  );
  if (sum === 0) {
    // Nothing is healthy: everything goes by the number of endpoints, as far as panic allows any.
    const sizes = levels.map(({ total }, i) => (isPanicking[i] ? total : 0));
    return { percent: shares(sizes), isPanicking };
  }
  return { percent: sum < 100 ? shares(health) : filled(health), isPanicking };
}

/** Each level takes what its health allows, until nothing is left. */
function filled(health: readonly number[]): readonly number[] {
  let left = 100;
  return health.map((one) => {
    const share = Math.min(left, one);
    left -= share;
    return share;
  });
}

/** Whole percents in proportion to `sizes`; what rounding leaves goes to the largest remainders, the first of equals. */
function shares(sizes: readonly number[]): readonly number[] {
  const total = sizes.reduce((a, b) => a + b, 0);
  if (total === 0) return sizes.map(() => 0);
  const percent = sizes.map((size) => Math.floor((100 * size) / total));
  const byRemainder = sizes
    .map((size, i) => ({ i, remainder: (100 * size) % total }))
    .sort((a, b) => b.remainder - a.remainder || a.i - b.i);
  const left = 100 - percent.reduce((a, b) => a + b, 0);
  for (const { i } of byRemainder.slice(0, left)) percent[i] = (percent[i] ?? 0) + 1;
  return percent;
}

/**
 * Weight of a locality by its health: w · min(100, 140 · available / total). Envoy's locality-weighted balancing.
 *
 * @returns A weight; only its ratio to others means anything.
 */
export function localityWeight(
  weight: number,
  { healthy, total }: LevelHealth,
  overprovisioning: number,
): number {
  if (total === 0) return 0;
  return weight * Math.min(100, (overprovisioning * 100 * healthy) / total);
}

/**
 * How near an endpoint is: 0 in our own subzone, 1 in our zone, 2 in our region, 3 elsewhere. Istio's failover
 * priorities.
 *
 * @param own - `region/zone/subzone`, as far as it is known.
 */
export function localityDistance(own: string, other: string | undefined): number {
  const [region = '', zone = '', subzone = ''] = own.split('/');
  const [otherRegion = '', otherZone = '', otherSubzone = ''] = (other ?? '').split('/');
  if (region !== otherRegion) return 3;
  if (zone !== otherZone) return 2;
  return subzone === otherSubzone ? 0 : 1;
}
