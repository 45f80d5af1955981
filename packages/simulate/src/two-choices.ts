import { type BalancerFactory, EndpointState, leastRequest, randomPick } from '@inmesh/resilience';
import { endpointList } from './client.js';
import { createRandom } from './random.js';
import type { Row } from './row.js';
import { listed, median } from './statistics.js';

/** Most calls in flight at one endpoint after as many calls as endpoints, none of which ends. */
function fullest(factory: BalancerFactory, count: number, seed: number): number {
  const endpoints = endpointList(count).map((one) => new EndpointState(String(one.port), one, 0));
  const random = createRandom(seed);
  const balancer = factory({ endpoints, weightOf: () => 1, isUniform: true, choices: 2, random });
  for (let i = 0; i < count; i++) balancer.pick(0).active++;
  return Math.max(...endpoints.map((one) => one.active));
}

/**
 * S10: balls into bins. @param trials - For the median.
 *
 * @see {@link https://www.eecs.harvard.edu/~michaelm/postscripts/tpds2001.pdf | Mitzenmacher, the power of two choices}
 */
export function twoChoices(trials: number): readonly Row[] {
  const sizes = [100, 1000, 10_000];
  const of = (factory: BalancerFactory): readonly number[] =>
    sizes.map((size) => median(Array.from({ length: trials }, (_, i) => fullest(factory, size, i + 1))));
  const random = of(randomPick);
  const two = of(leastRequest);
  return [
    {
      name: `S10 fullest of ${sizes.join(' / ')}, two choices (random)`,
      ours: `${listed(two, 0)} (${listed(random, 0)})`,
      published: '3 / 3 / 3 (5 to 7)',
      bound: '<= 3, random above',
      isKept: two.every((one, i) => one <= 3 && one < (random[i] ?? 0)),
    },
  ];
}
