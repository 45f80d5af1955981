/** The value below which `part` of the values lie. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** The middle; between the two in the middle of an even number. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
}

/** Median with its 90 % bootstrap interval over pairs. */
export function estimate(ratios: readonly number[]): {
  readonly ratio: number;
  readonly ci90: readonly [number, number];
} {
  const medians: number[] = [];
  let seed = 1;
  const random = (): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed / 2_147_483_648;
  };
  for (let i = 0; i < 2000; i++)
    medians.push(median(ratios.map(() => ratios[Math.floor(random() * ratios.length)] ?? 1)));
  return { ratio: median(ratios), ci90: [quantile(medians, 0.05), quantile(medians, 0.95)] };
}

/**
 * The line through values that were taken one after the other: how much it rises from the first to the last, and the
 * standard error of that.
 */
export function trend(values: readonly number[]): { readonly growth: number; readonly error: number } {
  const count = values.length;
  const middle = (count - 1) / 2;
  const mean = values.reduce((sum, one) => sum + one, 0) / count;
  const spread = values.reduce((sum, _, i) => sum + (i - middle) ** 2, 0);
  const slope = values.reduce((sum, one, i) => sum + (i - middle) * (one - mean), 0) / spread;
  const rest = values.reduce((sum, one, i) => sum + (one - mean - slope * (i - middle)) ** 2, 0);
  return { growth: slope * (count - 1), error: Math.sqrt(rest / (count - 2) / spread) * (count - 1) };
}
