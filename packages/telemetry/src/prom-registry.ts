import type { Registry } from 'prom-client';
import { type CollectedFamily, Family, type MetricStore } from './metric-store.js';
import { CounterSeries, HistogramSeries } from './series.js';

/** A registry of prom-client. */
export type PromRegistry = Registry;

/** One value as prom-client shows it. */
interface PromValue {
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly metricName?: string;
}

function labelsOf(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? '']));
}

function* histogramValues(
  name: string,
  labels: Readonly<Record<string, string>>,
  { bounds, counts, sum }: HistogramSeries,
): Iterable<PromValue> {
  let count = 0;
  for (let i = 0; i <= bounds.length; i++) {
    count += counts[i] ?? 0;
    const le = i === bounds.length ? '+Inf' : String(bounds[i]);
    yield { value: count, labels: { ...labels, le }, metricName: `${name}_bucket` };
  }
  yield { value: sum, labels, metricName: `${name}_sum` };
  yield { value: count, labels, metricName: `${name}_count` };
}

function* valuesOf(family: Family | CollectedFamily): Iterable<PromValue> {
  if (!(family instanceof Family)) {
    for (const [values, value] of family.collect()) yield { value, labels: labelsOf(family.labels, values) };
    return;
  }
  const { labels: names, name } = family.options;
  family.sweep();
  for (const series of family.series) {
    const labels = labelsOf(names, series.values);
    if (series instanceof HistogramSeries) yield* histogramValues(name, labels, series);
    else if (series instanceof CounterSeries) yield { value: series.value, labels };
  }
}

/**
 * Shows every metric of a store in a registry of prom-client, beside the application's own. One that the registry has
 * already stays as it is.
 *
 * @param registry - `register` of prom-client, or one of your own.
 */
export function registerWith(store: MetricStore, registry: Registry): void {
  for (const family of store.read()) {
    const { name, help, labels } = family instanceof Family ? family.options : family;
    if (registry.getSingleMetric(name) !== undefined) continue;
    const metric = {
      name,
      help,
      type: family.type,
      labelNames: labels,
      aggregator: 'sum',
      get: () => {
        if (family.type === 'counter') store.update();
        return { name, help, type: family.type, aggregator: 'sum', values: [...valuesOf(family)] };
      },
      reset: () => {
        // What a mesh has counted is not for others to forget.
      },
    };
    // It asks for no more than this of a metric, whatever its types say.
    registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0]);
  }
}
