import { createManualRuntime } from '@inmesh/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { peakEwma } from '../src/balancers.js';
import { type Tried, wasTried } from '../src/endpoint-state.js';
import { balancersByName, failurePenaltyMs, observeLatency } from '../src/index.js';
import { ewmaLoad, isCheaper, isFailing } from '../src/peak-ewma.js';
import { endpointStates, found } from './support.js';

describe('balancers', () => {
  it('always pick one of their endpoints, whatever the weights and loads', () => {
    const one = fc.record({
      weight: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e6, noNaN: true })),
      active: fc.nat(1000),
      costMs: fc.double({ min: 0, max: 1e7, noNaN: true }),
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(balancersByName)),
        fc.array(one, { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 2, max: 10 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 1 << 30 }),
        (factory, specs, choices, isUniform, seed) => {
          const endpoints = endpointStates(specs.length);
          for (const [i, spec] of specs.entries())
            Object.assign(found(endpoints[i]), { active: spec.active, costMs: spec.costMs });
          const weights = new Map(endpoints.map((e, i) => [e, found(specs[i]).weight]));
          const balancer = factory({
            endpoints,
            weightOf: (e) => weights.get(e) ?? 0,
            isUniform,
            choices,
            random: createManualRuntime({ seed }).random,
          });
          for (let nowMs = 0; nowMs < 2000; nowMs += 50) expect(endpoints).toContain(balancer.pick(nowMs));
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('peakEwma', () => {
  it('picks one that neither fails nor was tried, where there are few and one is so', () => {
    const one = fc.record({
      isTried: fc.boolean(),
      failuresInRow: fc.constantFrom(0, 0, 1, 2, 5),
      active: fc.nat(20),
      costMs: fc.double({ min: 0.1, max: 5000, noNaN: true }),
    });
    const seeds = fc.integer({ min: 1, max: 1 << 30 });
    fc.assert(
      fc.property(fc.array(one, { minLength: 2, maxLength: 8 }), seeds, (specs, seed) => {
        const endpoints = endpointStates(specs.length);
        let tried: Tried | undefined;
        for (const [i, { isTried, ...spec }] of specs.entries()) {
          const endpoint = Object.assign(found(endpoints[i]), spec, { failedAtMs: 0 });
          if (isTried) tried = { endpoint, before: tried };
        }
        const { random } = createManualRuntime({ seed });
        const balancer = peakEwma({ endpoints, weightOf: () => 1, isUniform: true, choices: 2, random });
        const fine = endpoints.filter((endpoint) => !wasTried(endpoint, tried) && !isFailing(endpoint, 10));
        if (fine.length === 0) return;
        for (let i = 0; i < 50; i++) expect(fine).toContain(balancer.pick(10, tried));
      }),
      { numRuns: 300 },
    );
  });
});

describe('observeLatency', () => {
  it('rises at once and falls slowly, and never leaves the range of what it saw', () => {
    const samples = fc.array(
      fc.record({ ms: fc.double({ min: 0, max: 10_000, noNaN: true }), gapMs: fc.nat(30_000) }),
      { minLength: 1, maxLength: 50 },
    );
    fc.assert(
      fc.property(samples, (seen) => {
        const endpoint = found(endpointStates(1)[0]);
        let nowMs = 0;
        let low = endpoint.costMs;
        let high = endpoint.costMs;
        for (const { ms, gapMs } of seen) {
          nowMs += gapMs;
          const before = endpoint.costMs;
          observeLatency(endpoint, ms, nowMs);
          low = Math.min(low, ms);
          high = Math.max(high, ms);
          if (ms >= before) expect(endpoint.costMs).toBe(ms);
          else expect(endpoint.costMs).toBeLessThanOrEqual(before);
          expect(endpoint.costMs).toBeGreaterThanOrEqual(low - 1e-9);
          expect(endpoint.costMs).toBeLessThanOrEqual(high + 1e-9);
          expect(endpoint.costAtMs).toBe(nowMs);
        }
      }),
    );
  });

  it('moves 1 - 1/e of the way in 10 s', () => {
    const endpoint = found(endpointStates(1)[0]);
    observeLatency(endpoint, 1000, 0);
    observeLatency(endpoint, 0, 10_000);
    expect(endpoint.costMs).toBeCloseTo(1000 / Math.E, 6);
    expect(failurePenaltyMs).toBe(5000);
  });
});

describe('isCheaper', () => {
  it('says the same as comparing loads, at any time', () => {
    const one = fc.record({
      costMs: fc.double({ min: 0.001, max: 10_000, noNaN: true }),
      costAtMs: fc.nat(100_000),
      active: fc.nat(1000),
      failuresInRow: fc.nat(3),
      failedAtMs: fc.nat(100_000),
    });
    fc.assert(
      fc.property(one, one, fc.nat(50_000), (first, second, laterMs) => {
        const [a, b] = endpointStates(2).map((endpoint, i) => Object.assign(endpoint, [first, second][i]));
        const nowMs = Math.max(first.costAtMs, second.costAtMs) + laterMs;
        const loads = [found(a), found(b)].map((endpoint) => ewmaLoad(endpoint, nowMs));
        const [loadA = 0, loadB = 0] = loads;
        // Equal but for rounding: either will do.
        if (Math.abs(loadA - loadB) > 1e-9 * loadA)
          expect(isCheaper(found(a), found(b), nowMs)).toBe(loadA < loadB);
      }),
    );
  });
});
