import { machineCpuUs } from './children.js';
import type { Material, Slice } from './protocol.js';
import { type Contestant, Side } from './roles.js';
import { quantile } from './statistics.js';

/** How long and how often. */
export interface Effort {
  readonly pairs: number;
  readonly rounds: number;
  readonly sliceMs: number;
  readonly warm: number;
}

/** Loads by name. */
export type Loads = ReadonlyMap<string, Slice['load']>;

interface Sample {
  readonly cpuUs: number;
  readonly p50Us: number;
  readonly throughput: number;
  /** Cores that others kept busy meanwhile. */
  readonly foreignCores: number;
}

/** What is compared. */
export type Measure = Exclude<keyof Sample, 'foreignCores'>;

/** Milliseconds of the same load before what is measured: connections that it needs are open then. */
const leadMs = 60;

async function measure(name: string, side: Side, slice: Slice): Promise<Sample> {
  await side.client.slice({ ...slice, ms: leadMs });
  const machineBefore = machineCpuUs();
  const before = await side.serverCpuUs();
  const { errors, requests, reason, cpuUs, wallMs, p50Us } = await side.client.slice(slice);
  const spentUs = cpuUs + (await side.serverCpuUs()) - before;
  if (errors > 0)
    throw new Error(`${name}: ${errors} of ${errors + requests} requests failed, the last with ${reason}`);
  const machineUs = (machineCpuUs() ?? 0) - (machineBefore ?? 0);
  return {
    cpuUs: spentUs / requests,
    p50Us,
    throughput: (requests * 1000) / wallMs,
    foreignCores: Math.max(0, machineUs - spentUs) / (wallMs * 1000),
  };
}

/** Samples by contestant and load. */
type Group = ReadonlyMap<string, ReadonlyMap<string, readonly Sample[]>>;

/** What was measured: for each repetition, with processes of its own, slices of every contestant side by side. */
export class Readings {
  readonly #groups: readonly Group[];

  constructor(groups: readonly Group[]) {
    this.#groups = groups;
  }

  /** Cores that others kept busy, in the middle of all slices: a machine's figures are its own only when it is quiet. */
  get foreignCores(): number {
    const samples = this.#groups.flatMap((group) =>
      [...group.values()].flatMap((loads) => [...loads.values()].flat()),
    );
    return quantile(
      samples.map((sample) => sample.foreignCores),
      0.5,
    );
  }

  /** Ratio of one contestant to another under a load, by repetition. Noise only adds, so it is left out of both. */
  ratios(name: string, baseline: string, load: string, what: Measure): readonly number[] {
    const part = what === 'throughput' ? 0.8 : 0.2;
    return this.#groups.map((group) => {
      const of = (one: string): number =>
        quantile(
          (group.get(one)?.get(load) ?? []).map((sample) => sample[what]),
          part,
        );
      return of(name) / of(baseline);
    });
  }
}

async function readGroup(sides: ReadonlyMap<string, Side>, loads: Loads, effort: Effort): Promise<Group> {
  const [base = '', ...others] = sides.keys();
  // The baseline before and after each of the others.
  const order = [base, ...others.flatMap((name) => [name, base])];
  const group = new Map([...sides.keys()].map((name) => [name, new Map<string, Sample[]>()]));
  for (const [load, given] of loads) {
    for (let round = 0; round < effort.rounds; round++) {
      for (const name of order) {
        const side = sides.get(name);
        const samples = group.get(name);
        if (side === undefined || samples === undefined) continue;
        const sample = await measure(name, side, { kind: 'slice', load: given, ms: effort.sliceMs });
        samples.set(load, [...(samples.get(load) ?? []), sample]);
      }
    }
  }
  return group;
}

/** Compares contestants, the first of them the baseline: fresh processes per repetition, slices in turn. */
export async function compare(
  contestants: readonly Contestant[],
  loads: Loads,
  material: Material,
  effort: Effort,
): Promise<Readings> {
  const groups: Group[] = [];
  for (let pair = 0; pair < effort.pairs; pair++) {
    const sides = new Map<string, Side>();
    try {
      for (const one of contestants) sides.set(one.name, await Side.start(one, material, effort.warm));
      groups.push(await readGroup(sides, loads, effort));
    } finally {
      for (const side of sides.values()) side.stop();
    }
  }
  return new Readings(groups);
}
