import { describe, expect, it } from 'vitest';
import { MetricStore, overflowValue } from '../src/index.js';

function createClock() {
  let nowMs = 0;
  return { now: () => nowMs, advance: (ms: number) => (nowMs += ms) };
}

describe('metric store', () => {
  it('gives the same series for the same values', () => {
    const family = new MetricStore({ runtime: createClock() }).counter({
      name: 'a_total',
      help: 'A.',
      labels: ['x', 'y'],
    });
    family.of(['1', '2']).add(1);
    family.of(['1', '2']).add(2);
    family.of(['12', '']).add(5);
    expect([...family.series].map(({ values, value }) => [values, value])).toEqual([
      [['1', '2'], 3],
      [['12', ''], 5],
    ]);
  });

  it('counts what does not fit under one more series, and says how often that was', () => {
    const store = new MetricStore({ runtime: createClock(), maxSeries: 2 });
    const family = store.counter({ name: 'a_total', help: 'A.', labels: ['x'] });
    for (const x of ['1', '2', '3', '4', '3']) family.of([x]).add(1);
    expect([...family.series].map(({ values, value }) => [values[0], value])).toEqual([
      ['1', 1],
      ['2', 1],
      [overflowValue, 3],
    ]);
    const dropped = store.read().find((one) => 'collect' in one);
    expect(dropped !== undefined && 'collect' in dropped && [...dropped.collect()]).toEqual([
      [['a_total'], 3],
    ]);
  });

  it('lets go of a series that is idle, tells whoever holds it, and keeps one that is counted in', () => {
    const clock = createClock();
    const store = new MetricStore({ runtime: clock, retainIdleMs: 100 });
    const family = store.counter({ name: 'a_total', help: 'A.', labels: ['x'] });
    const idle = family.of(['idle']);
    const busy = family.of(['busy']);
    store.read();
    for (let i = 0; i < 3; i++) {
      clock.advance(60);
      busy.add(1);
      store.read();
    }
    expect([idle.isGone, busy.isGone]).toEqual([true, false]);
    expect(family.of(['idle'])).not.toBe(idle);
  });

  it('makes room for new series by letting go of idle ones', () => {
    const clock = createClock();
    const store = new MetricStore({ runtime: clock, maxSeries: 1, retainIdleMs: 100 });
    const family = store.counter({ name: 'a_total', help: 'A.', labels: ['x'] });
    family.of(['old']);
    family.sweep();
    clock.advance(101);
    expect(family.of(['new']).values).toEqual(['new']);
  });

  it('puts a value into the first bucket that is not below it', () => {
    const store = new MetricStore({ runtime: createClock() });
    const series = store.histogram({ name: 'h', help: 'H.', labels: [] }, [1, 5]).of([]);
    for (const value of [0, 1, 1.1, 5, 6]) series.observe(value);
    expect([[...series.counts], series.sum]).toEqual([[2, 2, 1], 13.1]);
  });
});
