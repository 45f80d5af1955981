import { describe, expect, it } from 'vitest';
import { beyondRoundRobin, measureLatencies } from '../src/beyond-round-robin.js';
import { EventQueue } from '../src/event-queue.js';
import { failingService } from '../src/failing-service.js';
import { faultStorms } from '../src/fault-storm.js';
import { goldenTables } from '../src/golden-tables.js';
import { layeredRetries } from '../src/layered-retries.js';
import { linePlot } from '../src/line-plot.js';
import { outliers } from '../src/outliers.js';
import { createRandom, exponential, normal } from '../src/random.js';
import { retryStorm } from '../src/retry-storm.js';
import { type Row, table } from '../src/row.js';
import { quantile } from '../src/statistics.js';
import { twoChoices } from '../src/two-choices.js';
import { VirtualRuntime } from '../src/virtual-runtime.js';

describe('the simulations, in short', () => {
  it.each<[string, () => readonly Row[]]>([
    ['S1', () => beyondRoundRobin(1)],
    ['S2', () => retryStorm(1, [700])],
    ['S3', () => layeredRetries()],
    ['S4', () => failingService(30_000)],
    ['S7', () => outliers(300, 50_000)],
    ['S16', () => faultStorms(1, 5)],
    ['S9', () => goldenTables()],
    ['S10', () => twoChoices(5)],
  ])('%s keeps its bounds', (_name, run) => {
    const rows = run();
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.filter((row) => !row.isKept)).toEqual([]);
  });

  it('come out the same with the same seed', () => {
    const [first, again, other] = [3, 3, 4].map((seed) => measureLatencies('peak-ewma', seed).sortedMs);
    expect(first).toEqual(again);
    expect(first).not.toEqual(other);
  });
});

describe('VirtualRuntime', () => {
  it('lets things happen in the order of their time, and of their making', () => {
    const runtime = new VirtualRuntime(1);
    const seen: string[] = [];
    const note = (name: string) => () => void seen.push(`${name} at ${runtime.now()}`);
    runtime.after(5, note('b'));
    runtime.after(5, note('c'));
    runtime.after(2.5, () => runtime.after(1, note('a')));
    runtime.after(9, note('never'));
    runtime.runUntil(8);
    expect([seen, runtime.now()]).toEqual([['a at 3.5', 'b at 5', 'c at 5'], 8]);
  });

  it('fires an armed timer once, when it was armed last, and a disarmed one never', () => {
    const runtime = new VirtualRuntime(1);
    const seen: number[] = [];
    const timer = {
      onTimer: () => void seen.push(runtime.now()),
      timerNext: undefined,
      timerPrev: undefined,
      timerDueMs: 0,
    };
    runtime.arm(timer, 10);
    runtime.arm(timer, 20);
    runtime.runAll();
    runtime.arm(timer, 5);
    runtime.disarm(timer);
    runtime.runAll();
    expect(seen).toEqual([20]);
  });
});

describe('EventQueue', () => {
  it('gives events back in order', () => {
    const random = createRandom(3);
    const queue = new EventQueue();
    for (let i = 0; i < 500; i++) queue.add(Math.floor(random() * 50), () => {});
    const taken = Array.from({ length: 500 }, () => queue.take());
    for (let i = 1; i < taken.length; i++) {
      const [a, b] = [taken[i - 1], taken[i]];
      const isOrdered =
        a !== undefined &&
        b !== undefined &&
        (a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order));
      expect(isOrdered).toBe(true);
    }
    expect([queue.take(), queue.firstMs]).toEqual([undefined, Number.POSITIVE_INFINITY]);
  });
});

describe('random numbers', () => {
  it('have the means and deviations that they should', () => {
    const random = createRandom(1);
    const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    const draw = (one: () => number): readonly number[] => Array.from({ length: 50_000 }, one);
    expect(mean(draw(random))).toBeCloseTo(0.5, 1);
    expect(mean(draw(() => exponential(random, 10)))).toBeCloseTo(10, 0);
    const normals = draw(() => normal(random, 167, 5));
    expect(mean(normals)).toBeCloseTo(167, 0);
    expect(quantile(normals, 0.841)).toBeCloseTo(172, 0);
  });
});

describe('output', () => {
  it('is a table that says what is broken', () => {
    const row = { name: 'S0', ours: '1', published: '2', bound: '<= 1' };
    const lines = table([
      { ...row, isKept: true },
      { ...row, isKept: false },
    ]).split('\n');
    expect(lines.map((line) => line.split(/\s+/).at(-1))).toEqual(['verdict', 'ok', 'BROKEN']);
  });

  it('is a plot that stands alone, with its texts escaped', () => {
    const svg = linePlot({
      title: 'a < b & c',
      xLabel: 'x',
      yLabel: 'y',
      x: [0, 10],
      y: [0, 1],
      series: [
        {
          label: 'one',
          colour: 'red',
          points: [
            [0, 0],
            [10, 1],
          ],
        },
      ],
    });
    expect(svg).toContain('<title>a &lt; b &amp; c</title>');
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"[\s\S]*<\/svg>\n$/);
    expect(svg).toContain('d="M64,328L696,64"');
  });
});
