import { createManualRuntime } from '@inmesh/core/testing';
import { describe, expect, it } from 'vitest';
import {
  type Balancer,
  type BalancerFactory,
  balancersByName,
  type EndpointState,
  leastRequest,
  peakEwma,
  randomPick,
  roundRobin,
} from '../src/index.js';
import { countBy, endpointStates, found, repeat } from './support.js';

interface Setup {
  readonly weights?: readonly number[];
  readonly count?: number;
  readonly choices?: number;
  readonly seed?: number;
}

function create(
  factory: BalancerFactory,
  { weights, count = weights?.length ?? 3, choices = 2, seed = 7 }: Setup = {},
): { readonly balancer: Balancer; readonly endpoints: readonly EndpointState[] } {
  const endpoints = endpointStates(count);
  const shares = new Map(endpoints.map((one, i) => [one, weights?.[i] ?? 1]));
  const balancer = factory({
    endpoints,
    weightOf: (one) => shares.get(one) ?? 0,
    isUniform: weights === undefined,
    choices,
    random: createManualRuntime({ seed }).random,
  });
  return { balancer, endpoints };
}

function sharesOf(balancer: Balancer, endpoints: readonly EndpointState[], picks: number): readonly number[] {
  const counts = countBy(repeat(picks, () => balancer.pick(0)));
  return endpoints.map((one) => (counts.get(one) ?? 0) / picks);
}

describe.each(Object.entries(balancersByName))('%s', (_name, factory) => {
  it('picks the only endpoint there is', () => {
    const { balancer, endpoints } = create(factory, { count: 1 });
    expect(repeat(5, () => balancer.pick(0))).toEqual(repeat(5, () => endpoints[0]));
  });

  it('gives equal endpoints equal shares', () => {
    const { balancer, endpoints } = create(factory, { count: 5 });
    for (const share of sharesOf(balancer, endpoints, 50_000)) expect(share).toBeCloseTo(0.2, 1.7);
  });

  it('gives unequal endpoints their share of picks', () => {
    const { balancer, endpoints } = create(factory, { weights: [1, 3, 6], choices: 2 });
    const [a = 0, b = 0, c = 0] = sharesOf(balancer, endpoints, 50_000);
    expect(a).toBeGreaterThan(0);
    expect(a).toBeLessThan(b);
    expect(b).toBeLessThan(c);
    expect(c).toBeCloseTo(0.6, 1);
  });
});

describe('peakEwma', () => {
  it('prefers what answers faster', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 2 });
    found(endpoints[0]).costMs = 50;
    found(endpoints[1]).costMs = 40;
    expect(repeat(100, () => balancer.pick(0))).toEqual(repeat(100, () => endpoints[1]));
  });

  it('counts calls in flight against an endpoint', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 2 });
    found(endpoints[0]).costMs = 10;
    found(endpoints[0]).active = 4;
    found(endpoints[1]).costMs = 40;
    expect(balancer.pick(0)).toBe(endpoints[1]);
  });

  it('tries a bad endpoint again when its cost has faded', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 2 });
    found(endpoints[0]).costMs = 5000;
    found(endpoints[1]).costMs = 10;
    expect(balancer.pick(1000)).toBe(endpoints[1]);
    found(endpoints[1]).costAtMs = 70_000;
    expect(balancer.pick(70_000)).toBe(endpoints[0]);
  });

  it('compares distinct endpoints: the worst of three is never picked', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 3 });
    found(endpoints[2]).costMs = 1000;
    expect(new Set(repeat(500, () => balancer.pick(0))).has(found(endpoints[2]))).toBe(false);
  });

  it('leaves one that fails alone while the other is well again, however dear and busy that is', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 2 });
    const [failing, wellAgain] = [found(endpoints[0]), found(endpoints[1])];
    Object.assign(failing, { costMs: 5000, failuresInRow: 2, failedAtMs: 0 });
    Object.assign(wellAgain, { costMs: 4900, active: 12 });
    expect(repeat(50, () => balancer.pick(999))).toEqual(repeat(50, () => wellAgain));
    // A second later it is tried again.
    expect(balancer.pick(1000)).toBe(failing);
  });

  it('does not take the slowest for want of a better one beside one that fails', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 3 });
    Object.assign(found(endpoints[0]), { costMs: 5000, failuresInRow: 2, failedAtMs: 0 });
    Object.assign(found(endpoints[1]), { costMs: 2000 });
    Object.assign(found(endpoints[2]), { costMs: 50, active: 8 });
    expect(repeat(500, () => balancer.pick(999))).toEqual(repeat(500, () => endpoints[2]));
  });

  it('compares two that are well where both that were drawn fail', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 4 });
    for (const one of endpoints.slice(0, 2))
      Object.assign(one, { costMs: 5000, failuresInRow: 2, failedAtMs: 0 });
    found(endpoints[2]).costMs = 2000;
    expect(repeat(500, () => balancer.pick(999))).toEqual(repeat(500, () => endpoints[3]));
  });

  it.each([
    [8, 0],
    [20, 0.003],
  ])('gives who is next to those that fail no more than others, of %d', (count, most) => {
    const { balancer, endpoints } = create(peakEwma, { count });
    const half = count / 2;
    for (const one of endpoints.slice(0, half))
      Object.assign(one, { costMs: 5000, failuresInRow: 2, failedAtMs: 0 });
    const shares = sharesOf(balancer, endpoints, 20_000);
    // Of many not all are looked at.
    expect(shares.slice(0, half).reduce((sum, share) => sum + share, 0)).toBeLessThanOrEqual(most);
    expect(Math.max(...shares)).toBeLessThan(1.1 / half);
    expect(Math.min(...shares.slice(half))).toBeGreaterThan(0.9 / half);
  });

  it('draws another instead of one that fails by share, too', () => {
    const { balancer, endpoints } = create(peakEwma, { weights: [2, 1, 1] });
    Object.assign(found(endpoints[0]), { costMs: 5000, failuresInRow: 2, failedAtMs: 0 });
    found(endpoints[1]).costMs = 2000;
    const counts = countBy(repeat(2000, () => balancer.pick(10)));
    expect(counts.get(found(endpoints[0]))).toBeUndefined();
    // Draws by share may both be the slow one: a quarter, and not half of them as where one of them is wasted.
    expect(counts.get(found(endpoints[2])) ?? 0).toBeGreaterThan(1250);
  });

  it('picks what was not tried', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 3 });
    const [first, second, third] = [found(endpoints[0]), found(endpoints[1]), found(endpoints[2])];
    Object.assign(third, { costMs: 5000, failuresInRow: 2, failedAtMs: 0 });
    second.costMs = 4000;
    const tried = { endpoint: first, before: undefined };
    expect(repeat(100, () => balancer.pick(10, tried))).toEqual(repeat(100, () => second));
  });

  it('picks one that fails rather than one that was tried', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 2 });
    const [first, second] = [found(endpoints[0]), found(endpoints[1])];
    Object.assign(second, { costMs: 5000, failuresInRow: 2, failedAtMs: 0 });
    const tried = { endpoint: first, before: undefined };
    expect(repeat(100, () => balancer.pick(10, tried))).toEqual(repeat(100, () => second));
  });

  it('takes a single failure for chance', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 2 });
    Object.assign(found(endpoints[0]), { costMs: 5000, failuresInRow: 1, failedAtMs: 0 });
    Object.assign(found(endpoints[1]), { costMs: 4900, active: 12 });
    expect(balancer.pick(10)).toBe(endpoints[0]);
  });

  it('still picks by cost where all fail', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 2 });
    for (const one of endpoints) Object.assign(one, { costMs: 5000, failuresInRow: 9, failedAtMs: 0 });
    found(endpoints[0]).active = 1;
    expect(balancer.pick(10)).toBe(endpoints[1]);
  });

  it('does not draw one that fails twice in one pick because its weight is greater', () => {
    const { balancer, endpoints } = create(peakEwma, { weights: [100, 1] });
    Object.assign(found(endpoints[0]), { costMs: 5000, failuresInRow: 2, failedAtMs: 0 });
    expect(repeat(100, () => balancer.pick(10))).toEqual(repeat(100, () => endpoints[1]));
  });

  it('compares as many as it is told', () => {
    const { balancer, endpoints } = create(peakEwma, { count: 10, choices: 10 });
    for (const [i, one] of endpoints.entries()) one.costMs = 100 + i;
    const counts = countBy(repeat(2000, () => balancer.pick(0)));
    expect(counts.get(found(endpoints[0])) ?? 0).toBeGreaterThan(1000);
  });
});

describe('leastRequest', () => {
  it('prefers what has fewer calls in flight', () => {
    const { balancer, endpoints } = create(leastRequest, { count: 2 });
    found(endpoints[0]).active = 1;
    expect(repeat(50, () => balancer.pick(0))).toEqual(repeat(50, () => endpoints[1]));
  });

  it('weighs calls in flight against the weight', () => {
    const { balancer, endpoints } = create(leastRequest, { weights: [1, 1, 2] });
    found(endpoints[2]).active = 3;
    const [a = 0, , c = 0] = sharesOf(balancer, endpoints, 10_000);
    // 2 / (3 + 1) is half of 1 / (0 + 1).
    expect(c / a).toBeCloseTo(0.5, 1);
  });
});

describe('roundRobin', () => {
  it('takes each in turn', () => {
    const { balancer, endpoints } = create(roundRobin, { count: 4 });
    const first = endpoints.indexOf(balancer.pick(0));
    const picks = repeat(8, () => endpoints.indexOf(balancer.pick(0)));
    expect(picks).toEqual(repeat(8, (i) => (first + 1 + i) % 4));
  });

  it.each([
    { weights: [1, 1, 1] },
    { weights: [1, 2, 3] },
    { weights: [10, 1, 1, 1] },
    { weights: [100, 1] },
    { weights: [0.5, 0.25, 0.25] },
    { weights: Array.from({ length: 50 }, (_, i) => 1 + (i % 7)) },
  ])('gives shares by weight within 1 % ($weights.length endpoints)', ({ weights }) => {
    const { balancer, endpoints } = create(roundRobin, { weights });
    const sum = weights.reduce((a, b) => a + b, 0);
    const shares = sharesOf(balancer, endpoints, 20_000);
    for (const [i, share] of shares.entries())
      expect(Math.abs(share - (weights[i] ?? 0) / sum)).toBeLessThan(0.01);
  });

  it('spreads picks evenly in time: no run of a light endpoint', () => {
    const { balancer, endpoints } = create(roundRobin, { weights: [3, 1] });
    const picks = repeat(400, () => endpoints.indexOf(balancer.pick(0)));
    for (let i = 1; i < picks.length; i++) expect([picks[i - 1], picks[i]]).not.toEqual([1, 1]);
  });
});

describe('randomPick', () => {
  it('gives shares by weight within 1 %', () => {
    const { balancer, endpoints } = create(randomPick, { weights: [1, 2, 7] });
    const [a = 0, b = 0, c = 0] = sharesOf(balancer, endpoints, 100_000);
    expect(Math.abs(a - 0.1)).toBeLessThan(0.01);
    expect(Math.abs(b - 0.2)).toBeLessThan(0.01);
    expect(Math.abs(c - 0.7)).toBeLessThan(0.01);
  });
});
