import { createContextKey, ROOT_CONTEXT } from '@opentelemetry/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lean } from '../src/trace/lean-context.js';

const keys = ['a', 'b', 'c'].map((name) => createContextKey(`inmesh test ${name}`));
const step = fc.record({
  /** Which of the contexts so far it begins with. */
  from: fc.nat(),
  key: fc.constantFrom(...keys),
  value: fc.option(fc.oneof(fc.integer(), fc.constant(undefined)), { nil: null }),
});

describe('a lean context', () => {
  it('holds what the API’s own would, whatever is set and deleted in whichever context', () => {
    fc.assert(
      fc.property(fc.array(step), fc.array(step), (before, after) => {
        let theirs = [ROOT_CONTEXT];
        for (const { from, key, value } of before)
          theirs.push((theirs[from % theirs.length] ?? ROOT_CONTEXT).setValue(key, value));
        theirs = [theirs.at(-1) ?? ROOT_CONTEXT];
        const ours = theirs.map(lean);
        for (const { from, key, value } of after) {
          const [their, our] = [theirs[from % theirs.length], ours[from % ours.length]];
          if (their === undefined || our === undefined) continue;
          theirs.push(value === null ? their.deleteValue(key) : their.setValue(key, value));
          ours.push(value === null ? our.deleteValue(key) : our.setValue(key, value));
        }
        for (const [i, their] of theirs.entries())
          for (const key of keys) expect(ours[i]?.getValue(key)).toBe(their.getValue(key));
      }),
    );
  });

  it('is made of another one once', () => {
    const one = lean(ROOT_CONTEXT);
    expect(lean(one)).toBe(one);
    const [key = createContextKey('inmesh test')] = keys;
    const next = one.setValue(key, 1);
    expect(lean(next)).toBe(next);
    // Beside what the API has: no functions of its own.
    expect(Object.keys(next)).toEqual([]);
  });
});
