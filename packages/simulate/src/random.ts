/** Uniform numbers in [0, 1), the same on every machine: xorshift32. */
export function createRandom(seed: number): () => number {
  // Small seeds would begin with small numbers.
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4_294_967_296;
  };
}

/** A normally distributed number; Box and Muller. */
export function normal(random: () => number, mean: number, deviation: number): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  return mean + deviation * radius * Math.cos(2 * Math.PI * random());
}

/** An exponentially distributed number. */
export function exponential(random: () => number, mean: number): number {
  return -Math.log(1 - random()) * mean;
}
