import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { formatFor, MetricStore, registerWith, renderInSlices, renderMetrics } from '../src/index.js';

function createStore(): MetricStore {
  const store = new MetricStore({ runtime: { now: () => 0 } });
  store
    .counter({ name: 'calls_total', help: 'Calls.\nAll.', labels: ['who'] })
    .of(['a"b\\c\nd'])
    .add(3);
  const histogram = store.histogram({ name: 'time_ms', help: 'Time.', labels: ['who'] }, [0.5, 1]);
  for (const value of [0.4, 0.6, 7]) histogram.of(['x']).observe(value);
  store.counter({ name: 'never_total', help: 'Never.', labels: [] });
  store.collected({
    name: 'free',
    help: 'Free.',
    labels: [],
    type: 'gauge',
    collect: () => [[[], Number.POSITIVE_INFINITY]],
  });
  return store;
}

describe('exposition', () => {
  it('writes the text format of Prometheus', () => {
    expect(renderMetrics(createStore(), 'prometheus')).toBe(
      [
        String.raw`# HELP calls_total Calls.\nAll.`,
        '# TYPE calls_total counter',
        String.raw`calls_total{who="a\"b\\c\nd"} 3`,
        '# HELP time_ms Time.',
        '# TYPE time_ms histogram',
        'time_ms_bucket{who="x",le="0.5"} 1',
        'time_ms_bucket{who="x",le="1"} 2',
        'time_ms_bucket{who="x",le="+Inf"} 3',
        'time_ms_sum{who="x"} 8',
        'time_ms_count{who="x"} 3',
        '# HELP free Free.',
        '# TYPE free gauge',
        'free +Inf',
        '',
      ].join('\n'),
    );
  });

  it('names counters without their suffix and writes bounds as floats in OpenMetrics', () => {
    const text = renderMetrics(createStore(), 'openmetrics');
    expect(text).toContain('# TYPE calls counter\ncalls_total{');
    expect(text).toContain('le="1.0"} 2');
  });

  it('writes the same in slices, between which others get their turn', async () => {
    const store = createStore();
    let nowMs = 0;
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      turns++;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    // A millisecond passes with each look at the clock.
    const text = await renderInSlices(store, 'openmetrics', { now: () => nowMs++ });
    const quick = await renderInSlices(store, 'openmetrics', { now: () => 0 });
    isOver = true;
    expect([text, quick]).toEqual([renderMetrics(store, 'openmetrics'), text]);
    // Seven pieces: one series each of three families, and their heads.
    expect(turns).toBeGreaterThanOrEqual(1);
  });

  it('tells each series once, whoever else scrapes and whatever comes back meanwhile', async () => {
    let nowMs = 0;
    const store = new MetricStore({ runtime: { now: () => nowMs } });
    const family = store.counter({ name: 'a_total', help: 'A.', labels: ['k'] });
    for (const k of ['0', '1', '2', '3']) family.of([k]).add(1);
    store.read();
    nowMs = 599_990;
    let sliceMs = 0;
    const slow = renderInSlices(store, 'prometheus', { now: () => (sliceMs += 10) });
    await new Promise(setImmediate);
    // Evicts them all, and one of them is back.
    nowMs = 600_100;
    store.read();
    family.of(['0']).add(1);
    const lines = (await slow).split('\n').filter((one) => one.startsWith('a_total{'));
    expect(lines).toEqual(['0', '1', '2', '3'].map((k) => `a_total{k="${k}"} 1`));
  });

  it.each([
    [undefined, 'prometheus'],
    ['text/plain;version=0.0.4;q=0.5,*/*;q=0.1', 'prometheus'],
    ['application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5', 'openmetrics'],
  ] as const)('reads Accept: %s as %s', (accept, format) => {
    expect(formatFor(accept)).toBe(format);
  });

  it('shows the same in a registry of prom-client, beside what is there', async () => {
    const registry = new Registry();
    const store = createStore();
    registerWith(store, registry);
    registerWith(store, registry);
    const samples = (text: string): readonly string[] =>
      text
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#') && !line.includes('Inf'))
        .toSorted();
    expect(samples(await registry.metrics())).toEqual(samples(renderMetrics(store, 'prometheus')));
  });
});
