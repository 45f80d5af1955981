import {
  type BalancerFactory,
  backoffMs,
  EndpointState,
  localityWeight,
  priorityLoad,
  rampFactor,
  roundRobin,
} from '@inmesh/resilience';
import { endpointList } from './client.js';
import { createRandom } from './random.js';
import type { Row } from './row.js';

/** Compares our numbers with a table; what differs is shown. */
function golden(
  name: string,
  published: string,
  lines: readonly (readonly [ours: number, expected: number])[],
  tolerance = 0,
): Row {
  const wrong = lines.filter(([ours, expected]) => Math.abs(ours - expected) > tolerance);
  const differences = wrong.map(([ours, expected]) => `${ours} for ${expected}`).join(', ');
  return {
    name: `S9 ${name}`,
    ours: `${lines.length - wrong.length} of ${lines.length}${differences === '' ? '' : `: ${differences}`}`,
    published,
    bound: tolerance === 0 ? 'all' : `all +-${tolerance}`,
    isKept: wrong.length === 0,
  };
}

const level = (healthy: number): { healthy: number; total: number } => ({ healthy, total: 100 });

function priorities(): Row {
  const tables: readonly (readonly [readonly number[], readonly number[]])[] = [
    [
      [100, 100],
      [100, 0],
    ],
    [
      [72, 100],
      [100, 0],
    ],
    [
      [71, 100],
      [99, 1],
    ],
    [
      [50, 100],
      [70, 30],
    ],
    [
      [25, 100],
      [35, 65],
    ],
    [
      [0, 100],
      [0, 100],
    ],
    [
      [25, 25],
      [50, 50],
    ],
    [
      [25, 25, 20],
      [36, 36, 28],
    ],
  ];
  const lines = tables.flatMap(([health, expected]) => {
    const { percent } = priorityLoad(health.map(level), 1.4, 50);
    return expected.map((one, i) => [percent[i] ?? Number.NaN, one] as const);
  });
  return golden('priorities', 'Envoy', lines);
}

function panic(): Row {
  const isPanicking = (healths: readonly number[], threshold: number): number =>
    priorityLoad(healths.map(level), 1.4, threshold).isPanicking[0] === true ? 1 : 0;
  return golden('panic', 'Envoy', [
    [isPanicking([49], 50), 1],
    [isPanicking([50], 50), 0],
    [isPanicking([10, 100], 50), 0],
    [isPanicking([0], 0), 0],
  ]);
}

function localities(): Row {
  const shareOfX = (healthy: number): number => {
    const x = localityWeight(1, level(healthy), 1.4);
    return (100 * x) / (x + localityWeight(2, level(100), 1.4));
  };
  const expected = [
    [100, 33],
    [69, 32],
    [50, 26],
    [25, 15],
    [0, 0],
  ] as const;
  return golden(
    'localities',
    'Envoy',
    expected.map(([healthy, share]) => [shareOfX(healthy), share] as const),
    0.6,
  );
}

function slowStart(): Row {
  const factor = (aggression: number, percent: number): number =>
    rampFactor({ windowMs: 1000, aggression, minWeightPercent: 10 }, 10 * percent);
  const expected = [
    [1, 0, 0.1],
    [1, 10, 0.1],
    [1, 25, 0.25],
    [1, 50, 0.5],
    [2, 0, 0.1],
    [2, 10, 0.316],
    [2, 25, 0.5],
    [2, 50, 0.707],
  ] as const;
  return golden(
    'slow start',
    'Envoy',
    expected.map(([aggression, percent, one]) => [factor(aggression, percent), one] as const),
    0.001,
  );
}

function backoff(): Row {
  const highest = (retry: number): number => backoffMs({ baseMs: 25, maxMs: 250 }, retry, () => 1 - 1e-9);
  const expected = [25, 50, 100, 200, 250, 250];
  return golden(
    'backoff',
    'Envoy',
    expected.map((one, i) => [highest(i + 1), one] as const),
    0.001,
  );
}

/** Shares of picks against weights, in percent. */
function shares(factory: BalancerFactory, weights: readonly number[]): readonly number[] {
  const endpoints = endpointList(weights.length).map((one) => new EndpointState(String(one.port), one, 0));
  const balancer = factory({
    endpoints,
    weightOf: ({ endpoint }) => weights[endpoint.port - 1] ?? 0,
    isUniform: false,
    choices: 2,
    random: createRandom(5),
  });
  const counts = new Float64Array(weights.length);
  for (let i = 0; i < 10_000; i++) {
    const at = balancer.pick(0).endpoint.port - 1;
    counts[at] = (counts[at] ?? 0) + 1;
  }
  return [...counts].map((count) => count / 100);
}

function weights(): Row {
  const sets = [
    [1, 2, 3],
    [10, 1, 1, 1],
    [100, 1],
    [5, 5, 5, 1],
  ];
  const lines = sets.flatMap((set) => {
    const total = set.reduce((a, b) => a + b, 0);
    const ours = shares(roundRobin, set);
    return set.map((weight, i) => [ours[i] ?? Number.NaN, (100 * weight) / total] as const);
  });
  return golden('weighted round robin, %', 'EDF', lines, 1);
}

/** S9. */
export function goldenTables(): readonly Row[] {
  return [priorities(), panic(), localities(), slowStart(), backoff(), weights()];
}
