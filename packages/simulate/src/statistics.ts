/** The value below which the share `q` of the values lies. */
export function quantile(values: readonly number[], q: number): number {
  return sortedQuantile(
    values.toSorted((a, b) => a - b),
    q,
  );
}

/** {@link quantile} of values that are in order already. */
export function sortedQuantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

/** The middle value. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Numbers as text with as many digits, separated by slashes. */
export function listed(values: readonly number[], digits: number): string {
  return values.map((value) => value.toFixed(digits)).join(' / ');
}
