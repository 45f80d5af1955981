import type { Row } from './row.js';

/** With more than this, a reading says more about others than about us. */
const disturbedCores = 0.5;

function isDisturbed({ foreignCores = 0 }: Row): boolean {
  return foreignCores > disturbedCores;
}

/** A row as a line of text. */
export function line(row: Row): string {
  const { name, ratio, value = 0, unit = '', ci90, goal, isFloor, state, load = '', foreignCores = 0 } = row;
  if (state === 'skipped') return `${name.padEnd(20)} skipped: ${load}\n`;
  const digits = unit === 'µs' ? 2 : unit === 'B' ? 0 : 1;
  const figure = ratio === undefined ? `${value.toFixed(digits)} ${unit}` : `${ratio.toFixed(3)}×`;
  const interval = ci90 === undefined ? '' : `[${ci90.map((one) => one.toFixed(3)).join(', ')}]`;
  const bound = goal === undefined ? '' : `goal ${isFloor === true ? '≥' : '≤'} ${goal}`;
  return `${name.padEnd(20)} ${figure.padStart(12)}  ${interval.padEnd(16)}  ${bound.padEnd(12)} ${(state ?? '').padEnd(7)} ${load}${isDisturbed(row) ? `, disturbed by ${foreignCores.toFixed(1)} cores` : ''}\n`;
}

/**
 * How far a ratio may be beyond its goal, and a time taken alone, on a short run of a noisy machine. At a low rate a ratio
 * of one tree was read from 1.06 to 1.54: there the processor sleeps between two requests.
 */
const farRatio = 1.75;
const farTime = 3;

function isFar({ ratio, value, goal, gate, ci90, isFloor }: Row, detectable: number): boolean {
  if (goal === undefined) return false;
  if (ratio === undefined) return value !== undefined && value > (gate ?? goal * farTime);
  const [low, high] = ci90 ?? [ratio, ratio];
  // What a run cannot tell apart from nothing, it cannot blame anybody for.
  const allowed = farRatio + detectable;
  return isFloor === true ? high < goal / allowed : low > goal * allowed;
}

/**
 * What fails a build: counts beyond their goal, which are the same on every machine; times only far beyond, with the
 * whole interval, on a machine that had time for us. What ours is better at than others has no gate.
 *
 * @param detectable - Smallest difference the run can see.
 */
export function failures(rows: readonly Row[], detectable: number): readonly Row[] {
  const isDisturbedRun = rows.some(isDisturbed);
  return rows.filter((row) => {
    if (row.baseline === 'mesh') return false;
    if (row.isCount === true) return row.state === 'missed';
    return !isDisturbedRun && isFar(row, detectable);
  });
}
