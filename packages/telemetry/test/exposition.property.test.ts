import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MetricStore, renderMetrics } from '../src/index.js';

/** Reads label values as Prometheus does: three escapes, nothing else. */
function readValue(text: string): string {
  return text.replaceAll(/\\(n|"|\\)/g, (_all, what: string) => (what === 'n' ? '\n' : what));
}

describe('exposition of any label', () => {
  it('is one line, from which the value can be read back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 0, max: 1_000_000 }), (value, amount) => {
        const store = new MetricStore({ runtime: { now: () => 0 } });
        store
          .counter({ name: 'a_total', help: 'A.', labels: ['x'] })
          .of([value])
          .add(amount);
        const [, , line = '', ...rest] = renderMetrics(store, 'prometheus').split('\n');
        expect(rest).toEqual(['']);
        const [, shown, number] = /^a_total\{x="((?:[^"\\]|\\.)*)"\} (\d+)$/s.exec(line) ?? [];
        expect([readValue(shown ?? ''), Number(number)]).toEqual([value, amount]);
      }),
    );
  });
});
