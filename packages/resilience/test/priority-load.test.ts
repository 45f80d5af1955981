import { describe, expect, it } from 'vitest';
import {
  type LevelHealth,
  localityDistance,
  localityWeight,
  priorityLoad,
  rampFactor,
} from '../src/index.js';

const of = (...percents: readonly number[]): readonly LevelHealth[] =>
  percents.map((healthy) => ({ healthy, total: 100 }));

describe('priorityLoad', () => {
  // Envoy's table for two levels, of which the second is healthy.
  it.each([
    [100, 100, 0],
    [72, 100, 0],
    [71, 99, 1],
    [50, 70, 30],
    [25, 35, 65],
    [0, 0, 100],
  ])('gives, with %i %% of the first level healthy, %i and %i %%', (healthy, first, second) => {
    expect(priorityLoad(of(healthy, 100), 1.4, 50).percent).toEqual([first, second]);
  });

  it('scales up what is left when all levels together cannot take everything', () => {
    expect(priorityLoad(of(25, 25), 1.4, 50).percent).toEqual([50, 50]);
    expect(priorityLoad(of(25, 25, 20), 1.4, 50).percent).toEqual([36, 36, 28]);
    expect(priorityLoad(of(20, 20, 10), 1.4, 50).percent).toEqual([40, 40, 20]);
    expect(priorityLoad(of(25, 0), 1.4, 50).percent).toEqual([100, 0]);
    expect(priorityLoad(of(50, 25), 1.4, 50)).toEqual({ percent: [70, 30], isPanicking: [false, false] });
  });

  it('does not overprovision with a factor of 1', () => {
    expect(priorityLoad(of(71, 100), 1, 50).percent).toEqual([71, 29]);
  });

  it('panics below the threshold, only where all levels together fall short', () => {
    expect(priorityLoad(of(10, 100), 1.4, 50).isPanicking).toEqual([false, false]);
    expect(priorityLoad(of(49), 1.4, 50).isPanicking).toEqual([true]);
    expect(priorityLoad(of(50), 1.4, 50).isPanicking).toEqual([false]);
    expect(priorityLoad(of(10, 55), 1.4, 50).isPanicking).toEqual([true, false]);
    expect(priorityLoad(of(10), 1.4, 0).isPanicking).toEqual([false]);
  });

  it('goes by size when nothing is healthy, and nowhere when panic is off', () => {
    const sick = [
      { healthy: 0, total: 30 },
      { healthy: 0, total: 10 },
    ];
    expect(priorityLoad(sick, 1.4, 50)).toEqual({ percent: [75, 25], isPanicking: [true, true] });
    expect(priorityLoad(sick, 1.4, 0)).toEqual({ percent: [0, 0], isPanicking: [false, false] });
    expect(priorityLoad([], 1.4, 50)).toEqual({ percent: [], isPanicking: [] });
    expect(priorityLoad([{ healthy: 0, total: 0 }], 1.4, 50).percent).toEqual([0]);
  });
});

describe('localityWeight', () => {
  // Envoy's table: localities X of weight 1 and Y of weight 2, Y healthy.
  it.each([
    [100, 33],
    [70, 33],
    [69, 32],
    [50, 26],
    [25, 15],
    [0, 0],
  ])('gives X, with %i %% healthy, %i %% of the traffic', (healthy, percent) => {
    const x = localityWeight(1, { healthy, total: 100 }, 1.4);
    const y = localityWeight(2, { healthy: 100, total: 100 }, 1.4);
    expect(Math.abs((100 * x) / (x + y) - percent)).toBeLessThan(1);
  });

  it('is 0 for a locality without endpoints', () => {
    expect(localityWeight(5, { healthy: 0, total: 0 }, 1.4)).toBe(0);
  });
});

describe('localityDistance', () => {
  it.each([
    ['eu/a/1', 'eu/a/1', 0],
    ['eu/a', 'eu/a', 0],
    ['eu/a/1', 'eu/a/2', 1],
    ['eu/a/1', 'eu/a', 1],
    ['eu/a/1', 'eu/b/1', 2],
    ['eu/a/1', 'us/a/1', 3],
    ['eu/a/1', undefined, 3],
  ])('from %s to %s is %i', (own, other, distance) => {
    expect(localityDistance(own, other)).toBe(distance);
  });
});

describe('rampFactor', () => {
  const windowMs = 10_000;
  it.each([
    [1, 0, 0.1],
    [1, 10, 0.1],
    [1, 25, 0.25],
    [1, 50, 0.5],
    [1, 100, 1],
    [2, 0, 0.1],
    [2, 10, 0.316],
    [2, 25, 0.5],
    [2, 50, 0.707],
    [2, 100, 1],
  ])('with aggression %d, after %i %% of the window, is %d', (aggression, percent, factor) => {
    const rules = { windowMs, aggression, minWeightPercent: 10 };
    expect(rampFactor(rules, (percent / 100) * windowMs)).toBeCloseTo(factor, 3);
  });

  it('is full after the window, and never negative', () => {
    const rules = { windowMs, aggression: 1, minWeightPercent: 0 };
    expect([rampFactor(rules, 1e9), rampFactor(rules, -5)]).toEqual([1, 0]);
  });
});
