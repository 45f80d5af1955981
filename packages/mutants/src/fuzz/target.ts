import { isMeshError } from '@inmesh/core';
import type { Arbitrary } from 'fast-check';

/** A parser, what is thrown at it, and what must hold. */
export interface Target {
  /** For the table and for `--target`. */
  readonly name: string;
  /** Inputs. */
  readonly inputs: Arbitrary<unknown>;
  /** Reads one input. Throws or rejects if the parser breaks its promise; a refusal of ours is none. */
  readonly check: (input: never) => Promise<void> | void;
  /** Starts what the checks need; no input's time. */
  readonly open?: () => Promise<void>;
  /** Ends it. */
  readonly close?: () => Promise<void>;
}

/** A {@link Target} whose inputs fit its check. */
export function target<T>(
  name: string,
  inputs: Arbitrary<T>,
  check: (input: T) => Promise<void> | void,
): Target {
  return { name, inputs, check };
}

/** Fails the input. */
export function promise(isKept: boolean, what: string): void {
  if (!isKept) throw new Error(`broken promise: ${what}`);
}

/** Result of `read`; `undefined` if it refused with a MeshError. Anything else that it throws goes on. */
export function refusable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!isMeshError(error)) throw error;
    return undefined;
  }
}
