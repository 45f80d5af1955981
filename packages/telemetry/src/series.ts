/** What a metric family is. */
export interface FamilyOptions {
  /** Name as Prometheus shows it; counters end in `_total`. */
  readonly name: string;
  /** One sentence. */
  readonly help: string;
  /** Names of labels. */
  readonly labels: readonly string[];
}

/** One combination of label values. */
export class Series {
  /** Values, in the order of the family's labels. */
  readonly values: readonly string[];
  /** Counted since somebody last looked. */
  isTouched = true;
  /** When it was last seen to be in use, in milliseconds on the monotonic clock. */
  usedMs: number;
  /** Taken out of its family: what is counted here is lost. */
  isGone = false;

  /** @param nowMs - When it was made. */
  constructor(values: readonly string[], nowMs: number) {
    this.values = values;
    this.usedMs = nowMs;
  }
}

/** A number that grows. */
export class CounterSeries extends Series {
  /** Sum so far. */
  value = 0;

  /** Adds to it. */
  add(amount: number): void {
    this.value += amount;
    this.isTouched = true;
  }
}

/** A call that a bucket counted, by which its trace is found. */
export interface Exemplar {
  /** Of its trace. */
  readonly traceId: string;
  /** What was observed. */
  readonly value: number;
  /** When, in milliseconds of Unix time. */
  readonly wallMs: number;
}

/** How often values fell into which bucket. */
export class HistogramSeries extends Series {
  /** Upper bounds, ascending. */
  readonly bounds: Float64Array;
  /** Per bucket, not summed up; the last one is beyond every bound. */
  readonly counts: Float64Array;
  /** Of everything that was observed. */
  sum = 0;
  /** The last traced one of each bucket; made with the first. */
  exemplars: (Exemplar | undefined)[] | undefined;

  /** @param bounds - Of the family, shared by all of its series. */
  constructor(values: readonly string[], nowMs: number, bounds: Float64Array) {
    super(values, nowMs);
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  /** Counts a value. @returns its bucket */
  observe(value: number): number {
    const { counts, bounds } = this;
    // The first bound that is not below the value. Halving takes a third of the time of one after the other.
    let bucket = 0;
    for (let end = bounds.length; bucket < end; ) {
      const middle = (bucket + end) >> 1;
      if (value > (bounds[middle] as number)) bucket = middle + 1;
      else end = middle;
    }
    (counts[bucket] as number) += 1;
    this.sum += value;
    this.isTouched = true;
    return bucket;
  }

  /** Keeps a call that a bucket counted. */
  exemplify(bucket: number, exemplar: Exemplar): void {
    this.exemplars ??= [];
    this.exemplars[bucket] = exemplar;
  }
}
