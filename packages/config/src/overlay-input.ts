import { isPlainObject } from './shape.js';

/** `base` with what `part` says, field by field; lists, functions and `false` are taken as a whole. */
export function overlayInput<T extends object>(base: T, part: T): T {
  const merged: Record<string, unknown> = Object.fromEntries<unknown>(Object.entries(base));
  for (const [key, value] of Object.entries(part)) {
    if (value === undefined) continue;
    const before = merged[key];
    merged[key] = isPlainObject(before) && isPlainObject(value) ? overlayInput(before, value) : value;
  }
  // The keys are those of both, and both are of the type.
  return merged as T;
}
