import { createTimer, systemRuntime } from '@inmesh/core';
import fc from 'fast-check';
import type { Target } from './target.js';

/** Most time of the processor that reading one input may take, in milliseconds: others use the machine, too. */
const longestMs = 2000;
/** Longest wait for an input that is read over sockets, in milliseconds. */
const longestWaitMs = 20_000;

/** What a target came to. */
export interface FuzzResult {
  /** Inputs that were read. */
  readonly inputs: number;
  /** The smallest input that breaks a promise, and how. */
  readonly failure: string | undefined;
}

function tooLong(tookMs: number, most: number): Error {
  return new Error(`took ${Math.round(tookMs)} ms, at most ${most} are allowed`);
}

/** Rejects if `work` does not end, or something that nobody awaits throws meanwhile. */
async function watched(work: Promise<void>): Promise<void> {
  let stop = (): void => {};
  const broken = new Promise<never>((_resolve, reject) => {
    const timer = createTimer(() => reject(tooLong(longestWaitMs, longestWaitMs)));
    systemRuntime.arm(timer, longestWaitMs);
    // Where nothing else keeps the process, it would end and the input would not be told.
    systemRuntime.hold?.();
    process.on('uncaughtException', reject);
    stop = () => {
      systemRuntime.disarm(timer);
      systemRuntime.release?.();
      process.removeListener('uncaughtException', reject);
    };
  });
  try {
    await Promise.race([work, broken]);
  } finally {
    stop();
  }
}

function timed(one: Target): (input: unknown) => Promise<void> | void {
  return (input) => {
    const before = process.cpuUsage();
    const work = one.check(input as never);
    if (work !== undefined) return watched(work);
    const { user, system } = process.cpuUsage(before);
    const tookMs = (user + system) / 1000;
    if (tookMs > longestMs) throw tooLong(tookMs, longestMs);
    return undefined;
  };
}

/** Throws inputs at `one` until its time is over or a promise is broken. */
export async function runTarget(one: Target, seconds: number, seed: number): Promise<FuzzResult> {
  const check = timed(one);
  let inputs = 0;
  await one.open?.();
  const found = await fc.check(
    fc.asyncProperty(one.inputs, async (input) => {
      inputs++;
      await check(input);
    }),
    {
      seed,
      numRuns: Number.MAX_SAFE_INTEGER,
      interruptAfterTimeLimit: seconds * 1000,
      markInterruptAsFailure: false,
    },
  );
  systemRuntime.hold?.();
  await one.close?.();
  systemRuntime.release?.();
  if (found.counterexample === null) return { inputs, failure: undefined };
  const cause = found.errorInstance;
  return {
    inputs,
    failure: `${fc.stringify(found.counterexample[0])}\n  ${cause instanceof Error ? (cause.stack ?? '') : String(cause)}`,
  };
}
