import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Runtime } from '@inmesh/core';
import { type CollectedFamily, Family, type MetricStore } from './metric-store.js';
import { CounterSeries, type Exemplar, HistogramSeries } from './series.js';

/** How metrics are written down. */
export type ExpositionFormat = 'openmetrics' | 'prometheus';

/** Media types, for `Content-Type`. */
export const contentTypes: Readonly<Record<ExpositionFormat, string>> = Object.freeze({
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
});

/** What a reader asks for in its `Accept`: OpenMetrics if it names that, else the text format of Prometheus. */
export function formatFor(accept: string | undefined): ExpositionFormat {
  return accept?.includes('application/openmetrics-text') === true ? 'openmetrics' : 'prometheus';
}

function escapeValue(value: string): string {
  return value
    .replaceAll('\\', String.raw`\\`)
    .replaceAll('\n', String.raw`\n`)
    .replaceAll('"', String.raw`\"`);
}

function escapeHelp(help: string): string {
  return help.replaceAll('\\', String.raw`\\`).replaceAll('\n', String.raw`\n`);
}

function labelsText(names: readonly string[], values: readonly string[]): string {
  return names.map((name, i) => `${name}="${escapeValue(values[i] ?? '')}"`).join(',');
}

function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}

/** A bound as OpenMetrics wants it: a float even where it is whole. OpenMetrics 1.0, canonical numbers. */
function boundText(bound: number, format: ExpositionFormat): string {
  return format === 'openmetrics' && Number.isInteger(bound) ? `${bound}.0` : String(bound);
}

/** What OpenMetrics lets follow the sample of a bucket; the text format of Prometheus knows nothing like it. */
function exemplarText(exemplar: Exemplar | undefined, format: ExpositionFormat): string {
  if (exemplar === undefined || format === 'prometheus') return '';
  const { traceId, value, wallMs } = exemplar;
  return ` # {trace_id="${traceId}"} ${numberText(value)} ${(wallMs / 1000).toFixed(3)}`;
}

function histogramLines(
  name: string,
  labels: string,
  { bounds, counts, sum, exemplars = [] }: HistogramSeries,
  format: ExpositionFormat,
): readonly string[] {
  const lines: string[] = [];
  const prefix = labels === '' ? '' : `${labels},`;
  let count = 0;
  for (const [i, bound] of bounds.entries()) {
    count += counts[i] ?? 0;
    lines.push(
      `${name}_bucket{${prefix}le="${boundText(bound, format)}"} ${count}${exemplarText(exemplars[i], format)}`,
    );
  }
  count += counts[bounds.length] ?? 0;
  const all = labels === '' ? '' : `{${labels}}`;
  lines.push(
    `${name}_bucket{${prefix}le="+Inf"} ${count}${exemplarText(exemplars[bounds.length], format)}`,
    `${name}_sum${all} ${numberText(sum)}`,
    `${name}_count${all} ${count}`,
  );
  return lines;
}

function line(name: string, labels: string, value: number): string {
  return `${name}${labels === '' ? '' : `{${labels}}`} ${numberText(value)}`;
}

// Lines of a family, those of one series at a time.
function* seriesLines(
  family: Family | CollectedFamily,
  format: ExpositionFormat,
): Generator<readonly string[]> {
  if (!(family instanceof Family)) {
    for (const [values, value] of family.collect())
      yield [line(family.name, labelsText(family.labels, values), value)];
    return;
  }
  const { name, labels } = family.options;
  // As they are now: those of one scrape must not change while it waits for its next slice.
  const all = [...family.series];
  for (const series of all) {
    const text = labelsText(labels, series.values);
    if (series instanceof HistogramSeries) yield histogramLines(name, text, series, format);
    else if (series instanceof CounterSeries) yield [line(name, text, series.value)];
  }
}

function* familyLines(
  family: Family | CollectedFamily,
  format: ExpositionFormat,
): Generator<readonly string[]> {
  let hasHead = false;
  for (const lines of seriesLines(family, format)) {
    if (!hasHead) {
      hasHead = true;
      const { name, help } = family instanceof Family ? family.options : family;
      const shown =
        format === 'openmetrics' && family.type === 'counter' ? name.replace(/_total$/, '') : name;
      yield [`# HELP ${shown} ${escapeHelp(help)}`, `# TYPE ${shown} ${family.type}`];
    }
    yield lines;
  }
}

// Pieces that each take microseconds.
function* metricPieces(store: MetricStore, format: ExpositionFormat): Generator<string> {
  for (const family of store.read())
    for (const lines of familyLines(family, format)) yield `${lines.join('\n')}\n`;
}

/**
 * The text of every family that has a sample, without the mark of the end that OpenMetrics asks for.
 *
 * @see {@link https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md | Prometheus text format 0.0.4}
 */
export function renderMetrics(store: MetricStore, format: ExpositionFormat): string {
  return [...metricPieces(store, format)].join('');
}

/** How long calls wait for a scrape, in milliseconds. */
const sliceMs = 5;

/** The same, in slices: thousands of series are tens of thousands of lines, and calls are answered between slices. */
export async function renderInSlices(
  store: MetricStore,
  format: ExpositionFormat,
  runtime: Pick<Runtime, 'now'>,
): Promise<string> {
  const texts: string[] = [];
  let untilMs = runtime.now() + sliceMs;
  for (const text of metricPieces(store, format)) {
    texts.push(text);
    if (runtime.now() < untilMs) continue;
    await nextTurn();
    untilMs = runtime.now() + sliceMs;
  }
  return texts.join('');
}
