import { compare, type Effort, type Loads, type Measure, type Readings } from './compare.js';
import type { Material, Variant, Wire } from './protocol.js';
import type { Contestant } from './roles.js';
import { type Row, ratioRow } from './row.js';
import { estimate } from './statistics.js';

/** A contestant that is a variant. */
export function contestant(variant: Variant, wire: Wire = 'http', name: string = variant): Contestant {
  return { name, variant, wire };
}

const loads: Loads = new Map([
  ['r1500', { rate: 1500 }],
  ['c1', { concurrency: 1 }],
  ['c16', { concurrency: 16 }],
  ['c64', { concurrency: 64 }],
]);
const c16: Loads = new Map([['c16', { concurrency: 16 }]]);

/** Bare against bare: what this run can see. */
export async function noise(material: Material, effort: Effort): Promise<Row> {
  const two = [contestant('bare', 'http', 'A'), contestant('bare', 'http', 'B')];
  const readings = await compare(two, c16, material, effort);
  const { foreignCores } = readings;
  return ratioRow('noise', readings.ratios('B', 'A', 'c16', 'cpuUs'), {
    baseline: 'bare',
    load: 'c16',
    foreignCores,
  });
}

/** Ratios to one baseline. */
class Ratios {
  readonly #readings: Readings;
  readonly #name: Variant;
  readonly #baseline: Variant;

  constructor(readings: Readings, name: Variant, baseline: Variant) {
    this.#readings = readings;
    this.#name = name;
    this.#baseline = baseline;
  }

  row(name: string, load: string, what: Measure, goal?: number): Row {
    return ratioRow(name, this.#of(load, what), {
      baseline: this.#baseline,
      load,
      foreignCores: this.#readings.foreignCores,
      ...(goal === undefined ? {} : { goal }),
      ...(what === 'throughput' ? { isFloor: true } : {}),
    });
  }

  /** The row of the load that is worst. */
  worst(name: string, among: readonly string[], what: Measure, goal?: number): Row {
    const ratioOf = (load: string): number => estimate(this.#of(load, what)).ratio;
    return this.row(
      name,
      among.reduce((a, b) => (ratioOf(b) > ratioOf(a) ? b : a)),
      what,
      goal,
    );
  }

  #of(load: string, what: Measure): readonly number[] {
    return this.#readings.ratios(this.#name, this.#baseline, load, what);
  }
}

const saturated = ['c16', 'c64'];

function cpuRows(prefix: string, ratios: Ratios): readonly Row[] {
  return [
    ratios.worst(prefix, saturated, 'cpuUs', 1.2),
    ratios.row(`${prefix}.r1500`, 'r1500', 'cpuUs', 1.1),
    ratios.row(`${prefix}.c1`, 'c1', 'cpuUs', 1.1),
    ratios.row(`${prefix}.c16`, 'c16', 'cpuUs', 1.2),
    ratios.row(`${prefix}.c64`, 'c64', 'cpuUs', 1.2),
  ];
}

/** HTTP: ours with one endpoint, and as a whole over three, in one run with both baselines. */
export async function http(material: Material, effort: Effort): Promise<readonly Row[]> {
  const all = (['bare', 'mesh-one', 'mesh', 'bare-equal'] as const).map((variant) => contestant(variant));
  const readings = await compare(all, loads, material, effort);
  const one = new Ratios(readings, 'mesh-one', 'bare');
  const equal = new Ratios(readings, 'mesh', 'bare-equal');
  const fetchers = [contestant('bare', 'fetch'), contestant('mesh-one', 'fetch')];
  const fetches = new Ratios(await compare(fetchers, c16, material, effort), 'mesh-one', 'bare');
  return [
    ...cpuRows('http.cpu', one),
    one.worst('http.p50', ['r1500', 'c1'], 'p50Us'),
    one.row('http.throughput64', 'c64', 'throughput', 0.85),
    ...cpuRows('http.full.cpu', new Ratios(readings, 'mesh', 'bare')),
    equal.worst('http.equal.cpu', saturated, 'cpuUs', 1.08),
    equal.row('http.equal.cpu.c1', 'c1', 'cpuUs', 1.08),
    fetches.row('fetch.cpu', 'c16', 'cpuUs'),
  ];
}

/** gRPC: ours against grpc-js over the same three endpoints, both with a deadline. */
export async function grpc(material: Material, effort: Effort): Promise<readonly Row[]> {
  const two = [contestant('bare', 'grpc'), contestant('mesh', 'grpc')];
  const both: Loads = new Map([
    ['r800', { rate: 800 }],
    ['c16', { concurrency: 16 }],
  ]);
  const ratios = new Ratios(await compare(two, both, material, effort), 'mesh', 'bare');
  return [ratios.row('grpc.cpu', 'c16', 'cpuUs', 1.15), ratios.row('grpc.cpu.r800', 'r800', 'cpuUs', 1.15)];
}
