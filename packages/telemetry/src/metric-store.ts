import type { Runtime } from '@inmesh/core';
import { CounterSeries, type FamilyOptions, HistogramSeries, type Series } from './series.js';

/** Value of every label of the series that takes what does not fit. */
export const overflowValue = '__overflow__';

/** Options of {@link MetricStore}. */
export interface MetricStoreOptions {
  /** Time. */
  readonly runtime: Pick<Runtime, 'now'>;
  /** Series of one family; what comes after goes to one more. @defaultValue 2000 */
  readonly maxSeries?: number;
  /** How long a series is kept that nothing is counted in, in milliseconds. @defaultValue 600_000 */
  readonly retainIdleMs?: number;
}

/** One sample that is made when somebody reads. */
export type Sample = readonly [labels: readonly string[], value: number];

/** A family whose samples are made when somebody reads. */
export interface CollectedFamily extends FamilyOptions {
  /** What it is. */
  readonly type: 'counter' | 'gauge';
  /** Makes the samples. */
  readonly collect: () => Iterable<Sample>;
}

/** A family that is counted into. */
export class Family<S extends Series = Series> {
  /** What it is called and what it counts by. */
  readonly options: FamilyOptions;
  /** What its series are. */
  readonly type: 'counter' | 'histogram';
  readonly #make: (values: readonly string[], nowMs: number) => S;
  readonly #series = new Map<string, S>();
  readonly #limits: Required<MetricStoreOptions>;
  readonly #overflow: readonly string[];
  /** Combinations that did not fit. */
  dropped = 0;

  /** @param make - Makes an empty series. */
  constructor(
    options: FamilyOptions,
    type: 'counter' | 'histogram',
    make: (values: readonly string[], nowMs: number) => S,
    limits: Required<MetricStoreOptions>,
  ) {
    this.options = options;
    this.type = type;
    this.#make = make;
    this.#limits = limits;
    this.#overflow = options.labels.map(() => overflowValue);
  }

  /** Those there are. */
  get series(): Iterable<S> {
    return this.#series.values();
  }

  /**
   * The series of these values; hold on to it while it {@link Series.isGone | is not gone}. Where there are too many,
   * the one that takes what does not fit.
   */
  of(values: readonly string[]): S {
    const key = values.join('\u0000');
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    const { maxSeries, runtime } = this.#limits;
    if (this.#series.size >= maxSeries) this.sweep();
    const isFull = this.#series.size >= maxSeries && values !== this.#overflow;
    if (isFull) {
      this.dropped++;
      return this.of(this.#overflow);
    }
    const made = this.#make(values, runtime.now());
    this.#series.set(key, made);
    return made;
  }

  /** Lets go of series that nothing was counted in for long. */
  sweep(): void {
    const nowMs = this.#limits.runtime.now();
    for (const [key, one] of this.#series) {
      if (one.isTouched) {
        one.isTouched = false;
        one.usedMs = nowMs;
      } else if (nowMs - one.usedMs > this.#limits.retainIdleMs) {
        one.isGone = true;
        this.#series.delete(key);
      }
    }
  }
}

/** Every metric of a mesh. Counting is adding to a number; texts are made when somebody reads. */
export class MetricStore {
  readonly #limits: Required<MetricStoreOptions>;
  readonly #families: (Family | CollectedFamily)[] = [];
  readonly #beforeRead: (() => void)[] = [];

  /** @param options - Bounds and time. */
  constructor(options: MetricStoreOptions) {
    const { maxSeries = 2000, retainIdleMs = 600_000, runtime } = options;
    this.#limits = { maxSeries, retainIdleMs, runtime };
    this.collected({
      name: 'inmesh_series_dropped_total',
      help: 'Combinations of labels that were counted under __overflow__, because there were too many.',
      labels: ['metric'],
      type: 'counter',
      collect: () => this.#dropped(),
    });
  }

  /** Calls `update` before each reading, for what is counted only when somebody looks. */
  beforeRead(update: () => void): void {
    this.#beforeRead.push(update);
  }

  /** Brings up to date what is counted only when somebody looks. */
  update(): void {
    for (const update of this.#beforeRead) update();
  }

  /** Every family up to date, those that are swept swept. */
  read(): readonly (Family | CollectedFamily)[] {
    this.update();
    for (const family of this.#families) if (family instanceof Family) family.sweep();
    return this.#families;
  }

  /** Adds a family of counters. */
  counter(options: FamilyOptions): Family<CounterSeries> {
    return this.#add(
      new Family(options, 'counter', (values, nowMs) => new CounterSeries(values, nowMs), this.#limits),
    );
  }

  /** Adds a family of histograms. @param bounds - Upper bounds, ascending. */
  histogram(options: FamilyOptions, bounds: readonly number[]): Family<HistogramSeries> {
    const shared = Float64Array.from(bounds);
    return this.#add(
      new Family(
        options,
        'histogram',
        (values, nowMs) => new HistogramSeries(values, nowMs, shared),
        this.#limits,
      ),
    );
  }

  /** Adds a family whose samples are made when somebody reads. */
  collected(family: CollectedFamily): void {
    this.#families.push(family);
  }

  #add<S extends Series>(family: Family<S>): Family<S> {
    this.#families.push(family as unknown as Family);
    return family;
  }

  *#dropped(): Iterable<Sample> {
    for (const family of this.#families)
      if (family instanceof Family && family.dropped > 0) yield [[family.options.name], family.dropped];
  }
}
