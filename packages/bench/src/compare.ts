import type { Slice, Variant, Wire } from './protocol.js';
import { type Side, startSide } from './roles.js';
import { estimate, quantile } from './statistics.js';

/** Files both variants prove themselves with. */
export interface Material {
  readonly caDir: string;
  readonly cert: string;
  readonly key: string;
  readonly bundle: string;
}

/** How long and how often. */
export interface Effort {
  readonly pairs: number;
  readonly rounds: number;
  readonly sliceMs: number;
  readonly warm: number;
}

/** A line of the result. */
export interface Row {
  readonly name: string;
  readonly ratio?: number;
  readonly value?: number;
  readonly unit?: string;
  readonly baseline?: string;
  readonly pairs?: number;
  readonly ci90?: readonly [number, number];
  readonly load?: string;
  readonly goal?: number;
  readonly state?: string;
}

interface Sample {
  readonly cpuUs: number;
  readonly p50Us: number;
  readonly throughput: number;
}

async function measure({ server, client }: Side, slice: Slice): Promise<Sample> {
  const before = await server.usage();
  const result = await client.slice(slice);
  const after = await server.usage();
  if (result.errors > 0) throw new Error(`${result.errors} of ${result.requests} requests failed`);
  return {
    cpuUs: (result.cpuUs + after.cpuUs - before.cpuUs) / result.requests,
    p50Us: result.p50Us,
    throughput: (result.requests * 1000) / result.wallMs,
  };
}

/** Ratios of one load, by pair. */
export interface LoadRatios {
  readonly cpu: number[];
  readonly p50: number[];
  readonly throughput: number[];
}

/** Compares two variants under some loads: fresh processes per pair, slices in the order A, B, A. */
export async function compare(
  wire: Wire,
  loads: ReadonlyMap<string, Slice['load']>,
  material: Material,
  effort: Effort,
  other: Variant = 'mesh',
): Promise<ReadonlyMap<string, LoadRatios>> {
  const ratios = new Map(
    [...loads.keys()].map((name): [string, LoadRatios] => [name, { cpu: [], p50: [], throughput: [] }]),
  );
  for (let pair = 0; pair < effort.pairs; pair++) {
    const shared = { ...material, wire, policies: 100 };
    const base = await startSide({ ...shared, variant: 'bare' }, effort.warm);
    const test = await startSide({ ...shared, variant: other }, effort.warm);
    try {
      for (const [name, load] of loads) {
        const slice: Slice = { kind: 'slice', load, ms: effort.sliceMs };
        const baseline: Sample[] = [];
        const tested: Sample[] = [];
        for (let round = 0; round < effort.rounds; round++) {
          baseline.push(await measure(base, slice));
          tested.push(await measure(test, slice));
          baseline.push(await measure(base, slice));
        }
        const pick = (samples: readonly Sample[], key: keyof Sample, part: number): number =>
          quantile(
            samples.map((one) => one[key]),
            part,
          );
        const target = ratios.get(name);
        target?.cpu.push(pick(tested, 'cpuUs', 0.2) / pick(baseline, 'cpuUs', 0.2));
        target?.p50.push(pick(tested, 'p50Us', 0.2) / pick(baseline, 'p50Us', 0.2));
        target?.throughput.push(pick(tested, 'throughput', 0.8) / pick(baseline, 'throughput', 0.8));
      }
    } finally {
      for (const side of [base, test]) {
        side.client.stop();
        side.server.stop();
      }
    }
  }
  return ratios;
}

/** Makes a row of ratios against a goal: proven, open or missed, by the whole interval. */
export function ratioRow(
  name: string,
  ratios: readonly number[],
  load: string,
  goal?: number,
  isFloor = false,
): Row {
  const { ratio, ci90 } = estimate(ratios);
  const [low, high] = ci90;
  const isIn = goal !== undefined && (isFloor ? low >= goal : high <= goal);
  const isOut = goal !== undefined && (isFloor ? high < goal : low > goal);
  return {
    name,
    ratio,
    baseline: 'bare',
    pairs: ratios.length,
    ci90,
    load,
    ...(goal === undefined ? {} : { goal, state: isIn ? 'proven' : isOut ? 'missed' : 'open' }),
  };
}
