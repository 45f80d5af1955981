import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AttemptResult, EndpointState } from '../src/index.js';
import { createCluster, createState, endpoints, found, steadyOutlier, type TestCluster } from './support.js';

/** The least that must be known to foretell an endpoint's state. */
interface Model {
  errors: number;
  gateways: number;
  locals: number;
  outUntilMs: number;
  isOnProbation: boolean;
}

interface World {
  readonly cluster: TestCluster;
  readonly models: Map<EndpointState, Model>;
  readonly maxPercent: number;
}

const limit = 3;

function create(count: number, maxPercent: number, alwaysEjectOne: boolean): World {
  const outlier = {
    ...steadyOutlier,
    consecutive5xx: limit,
    consecutiveGatewayErrors: limit,
    consecutiveLocalErrors: limit,
    failurePercent: 0,
    maxEjectionPercent: maxPercent,
    alwaysEjectOne,
  };
  const cluster = createState(createCluster(endpoints(count), { outlier }));
  const models = new Map(
    cluster.state.endpoints.map((one) => [
      one,
      { errors: 0, gateways: 0, locals: 0, outUntilMs: 0, isOnProbation: false },
    ]),
  );
  return { cluster, models, maxPercent };
}

/** Counts as the rules say; whether the endpoint deserves to be out. */
function count(model: Model, result: AttemptResult): boolean {
  switch (result) {
    case 'unknown':
      return false;
    case 'ok':
      Object.assign(model, { errors: 0, gateways: 0, locals: 0, isOnProbation: false });
      return false;
    case 'error':
      Object.assign(model, { errors: model.errors + 1, gateways: 0, locals: 0 });
      break;
    case 'gateway-error':
      Object.assign(model, { errors: model.errors + 1, gateways: model.gateways + 1, locals: 0 });
      break;
    case 'local-error':
      model.locals++;
  }
  return model.isOnProbation || [model.errors, model.gateways, model.locals].some((one) => one >= limit);
}

function report(world: World, target: EndpointState, result: AttemptResult): void {
  const { state, runtime } = world.cluster;
  const model = found(world.models.get(target));
  const before = state.ejected;
  const wasOut = target.isEjected;
  state.onResult(target, result, undefined, runtime.now());
  const deserves = count(model, result);
  if (wasOut || !target.isEjected) return;
  expect(deserves).toBe(true);
  const total = world.models.size;
  expect(total).toBeGreaterThan(1);
  const share = (100 * state.ejected) / total;
  expect(share <= world.maxPercent || (before === 0 && state.ejected === 1)).toBe(true);
  const lengthS = (target.ejectedUntilMs - runtime.now()) / 1000;
  expect(lengthS % 30 === 0 && lengthS >= 30 && lengthS <= 300).toBe(true);
  Object.assign(model, {
    errors: 0,
    gateways: 0,
    locals: 0,
    isOnProbation: false,
    outUntilMs: target.ejectedUntilMs,
  });
}

async function pass({ cluster, models }: World, ms: number): Promise<void> {
  const { state, runtime } = cluster;
  await runtime.advance(ms);
  const wereOut = state.endpoints.filter((one) => one.isEjected);
  state.pick(runtime.now());
  for (const one of wereOut) {
    const model = found(models.get(one));
    expect(one.isEjected).toBe(model.outUntilMs > runtime.now());
    if (!one.isEjected) model.isOnProbation = true;
  }
  for (const [one, model] of models) if (!one.isEjected) expect(one.isOnProbation).toBe(model.isOnProbation);
}

describe('ejection', () => {
  it('ejects what deserves it and nothing else, never beyond the share, and lets it back on time', async () => {
    const result = fc.constantFrom<AttemptResult>('ok', 'error', 'gateway-error', 'local-error', 'unknown');
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.record({ target: fc.nat(11), result }) },
      { weight: 1, arbitrary: fc.constantFrom(1, 1000, 15_000, 40_000, 100_000) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 0, max: 100 }),
        fc.boolean(),
        fc.array(step, { maxLength: 120 }),
        async (total, maxPercent, alwaysEjectOne, steps) => {
          const world = create(total, maxPercent, alwaysEjectOne);
          const all = world.cluster.state.endpoints;
          for (const one of steps) {
            if (typeof one === 'number') await pass(world, one);
            else report(world, found(all[one.target % total]), one.result);
            expect(world.cluster.state.ejected).toBe(all.filter((e) => e.isEjected).length);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});
