import { estimate } from './statistics.js';

/** A line of the result. */
export interface Row {
  readonly name: string;
  readonly ratio?: number;
  readonly value?: number;
  readonly unit?: string;
  readonly baseline?: string;
  readonly pairs?: number;
  readonly ci90?: readonly [number, number];
  readonly load?: string;
  readonly goal?: number;
  /** What of a time taken alone fails a build; a multiple of the goal if left out. */
  readonly gate?: number;
  /** Whether the goal is a least value. */
  readonly isFloor?: boolean;
  /** Whether the value is counted, not timed: it is the same on every machine. */
  readonly isCount?: boolean;
  /** Cores that others kept busy meanwhile. */
  readonly foreignCores?: number;
  readonly state?: 'missed' | 'open' | 'proven' | 'skipped';
}

/** What of a ratio is not measured. */
export interface RatioLabels {
  /** What it is a ratio to. */
  readonly baseline: string;
  readonly load: string;
  readonly goal?: number;
  readonly isFloor?: boolean;
  readonly foreignCores: number;
}

/** A row of ratios against a goal: proven, open or missed, by the whole interval. */
export function ratioRow(name: string, ratios: readonly number[], labels: RatioLabels): Row {
  const { ratio, ci90 } = estimate(ratios);
  const [low, high] = ci90;
  const { goal, isFloor = false } = labels;
  const isIn = goal !== undefined && (isFloor ? low >= goal : high <= goal);
  const isOut = goal !== undefined && (isFloor ? high < goal : low > goal);
  return {
    name,
    ratio,
    pairs: ratios.length,
    ci90,
    ...labels,
    ...(goal === undefined ? {} : { state: isIn ? 'proven' : isOut ? 'missed' : 'open' }),
  };
}

/** A row of a time that was taken alone. */
export function costRow(name: string, value: number, unit: string, goal?: number, load?: string): Row {
  return {
    name,
    value,
    unit,
    ...(load === undefined ? {} : { load }),
    ...(goal === undefined ? {} : { goal, state: value <= goal ? 'proven' : 'missed' }),
  };
}

/** A row of what was counted. */
export function countRow(name: string, value: number, unit: string, goal: number, load: string): Row {
  return { ...costRow(name, value, unit, goal, load), isCount: true };
}

/** A row that could not be made. */
export function skippedRow(name: string, why: string): Row {
  return { name, load: why, state: 'skipped' };
}
