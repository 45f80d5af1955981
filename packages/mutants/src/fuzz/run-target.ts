import fc from 'fast-check';
import type { Target } from './target.js';

/** Longest that one input may take, in milliseconds, also while others use the machine. */
const longestMs = 2000;

/** What a target came to. */
export interface FuzzResult {
  /** Inputs that were read. */
  readonly inputs: number;
  /** The smallest input that breaks a promise, and how. */
  readonly failure: string | undefined;
}

function timed(one: Target): (input: unknown) => void {
  return (input) => {
    const startMs = performance.now();
    one.check(input as never);
    const tookMs = performance.now() - startMs;
    if (tookMs > longestMs)
      throw new Error(`took ${Math.round(tookMs)} ms, at most ${longestMs} are allowed`);
  };
}

/** Throws inputs at `one` until its time is over or a promise is broken. */
export function runTarget(one: Target, seconds: number, seed: number): FuzzResult {
  const check = timed(one);
  let inputs = 0;
  const found = fc.check(
    fc.property(one.inputs, (input) => {
      inputs++;
      check(input);
    }),
    {
      seed,
      numRuns: Number.MAX_SAFE_INTEGER,
      interruptAfterTimeLimit: seconds * 1000,
      markInterruptAsFailure: false,
    },
  );
  if (found.counterexample === null) return { inputs, failure: undefined };
  const cause = found.errorInstance;
  return {
    inputs,
    failure: `${fc.stringify(found.counterexample[0])}\n  ${cause instanceof Error ? (cause.stack ?? '') : String(cause)}`,
  };
}
