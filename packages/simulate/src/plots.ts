import { writeFileSync } from 'node:fs';
import { measureLatencies } from './beyond-round-robin.js';
import { linePlot, type Series } from './line-plot.js';
import { type Storm, type StormPolicy, storm } from './retry-storm.js';
import { sortedQuantile } from './statistics.js';

const explanation = new URL('../../../docs/explanation/', import.meta.url);

/** Shares of calls on the axis: each mark has a tenth of the calls of the one before beyond it. */
const shares = [0, 0.9, 0.99, 0.999, 0.9999];

function latencyPlot(): string {
  const lines = [
    ['round-robin', '#cf222e'],
    ['least-request', '#9a6700'],
    ['peak-ewma', '#1a7f37'],
  ] as const;
  const series = lines.map(([balancer, colour]): Series => {
    const { sortedMs } = measureLatencies(balancer, 1);
    const points = Array.from({ length: 201 }, (_, i) => {
      const nines = i / 50;
      return [nines, sortedQuantile(sortedMs, 1 - 10 ** -nines)] as const;
    });
    return { label: balancer, colour, points };
  });
  return linePlot({
    title: 'Time to answer, one of eleven replicas slow for half of the time',
    xLabel: 'percentile of calls',
    yLabel: 'ms',
    x: [0, 4],
    y: [0, 2200],
    xTicks: shares.map((share, i) => ({ at: i, text: String(Math.round(share * 1e6) / 1e4) })),
    series,
  });
}

function answeredPercent({ offered, answered }: Storm): readonly (readonly [number, number])[] {
  // Those of the last seconds are still under way.
  return Array.from({ length: 120 }, (_, second) => {
    const share = (answered[second] ?? 0) / Math.max(1, offered[second] ?? 0);
    return [second + 0.5, 100 * share] as const;
  });
}

function stormPlot(): string {
  const lines: readonly (readonly [StormPolicy, string, string])[] = [
    ['no retries', 'no retries', '#57606a'],
    ['default', 'our budget', '#1a7f37'],
    ['envoy-20%', '20 % of calls in flight', '#9a6700'],
    ['unbounded', 'no budget', '#cf222e'],
  ];
  return linePlot({
    title: 'Calls answered around a brown-out: 700 a second to a service that can take 1,000',
    xLabel: 'seconds',
    yLabel: '% of the calls begun',
    x: [0, 120],
    y: [0, 100],
    shade: { from: 20, to: 30, text: '4x slower' },
    series: lines.map(([policy, label, colour]) => ({
      label,
      colour,
      points: answeredPercent(storm(policy, 700, 1)),
    })),
  });
}

/** Writes the figures of the documentation anew. */
export function writePlots(): void {
  writeFileSync(new URL('beyond-round-robin.svg', explanation), latencyPlot());
  writeFileSync(new URL('retry-storm.svg', explanation), stormPlot());
}
