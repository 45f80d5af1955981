import type { EndpointLevels } from './endpoint-levels.js';
import { type EndpointState, type Tried, wasTried } from './endpoint-state.js';
import { isFailing } from './peak-ewma.js';

/** How often an endpoint is picked anew that is on probation with calls enough. Finagle's effort. */
const probationEffort = 4;

/** Whether an endpoint will do for a pick. */
export type Accepts = (endpoint: EndpointState) => boolean;

/** Whether an endpoint is none of those tried, and will do. */
export function isAllowed(
  endpoint: EndpointState,
  accepts: Accepts | undefined,
  tried: Tried | undefined,
): boolean {
  return !wasTried(endpoint, tried) && (accepts === undefined || accepts(endpoint));
}

/** The one of those ejected that would be back first, if it is allowed. */
export function nextBack(
  endpoints: Iterable<EndpointState>,
  accepts: Accepts | undefined,
  tried: Tried | undefined,
): EndpointState | undefined {
  let first: EndpointState | undefined;
  for (const one of endpoints) {
    if (!one.isEjected || !isAllowed(one, accepts, tried)) continue;
    if (first === undefined || one.ejectedUntilMs < first.ejectedUntilMs) first = one;
  }
  return first;
}

function isBusyProbe({ isOnProbation, active }: EndpointState, probes: number): boolean {
  return isOnProbation && active >= probes;
}

function lessActive(best: EndpointState | undefined, one: EndpointState): EndpointState {
  return best === undefined || one.active < best.active ? one : best;
}

/**
 * An endpoint that is allowed and no busy probe: `first`, or one that is picked anew, or any.
 *
 * @param repicks - How often it is picked anew.
 * @param probes - Calls that an endpoint on probation gets at a time.
 */
export function repick(
  levels: EndpointLevels,
  first: EndpointState,
  nowMs: number,
  repicks: number,
  probes: number,
  accepts?: Accepts,
  tried?: Tried,
): EndpointState | undefined {
  let picked = first;
  for (let left = Math.max(repicks, probationEffort); ; left--) {
    if (!isBusyProbe(picked, probes) && isAllowed(picked, accepts, tried)) return picked;
    if (left === 0) break;
    picked = levels.pick(nowMs, tried) ?? picked;
  }
  // Chance did not find one; look at all of them, least loaded first. One that fails at once is never loaded.
  let best: EndpointState | undefined;
  let failing: EndpointState | undefined;
  let busyProbe: EndpointState | undefined;
  for (const one of levels.usable) {
    if (!isAllowed(one, accepts, tried)) continue;
    if (isBusyProbe(one, probes)) busyProbe ??= one;
    else if (isFailing(one, nowMs)) failing = lessActive(failing, one);
    else best = lessActive(best, one);
  }
  // A busy probe is better than nothing.
  return best ?? failing ?? busyProbe;
}
