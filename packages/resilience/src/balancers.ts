import type { BalancerName } from '@inmesh/core';
import { EdfQueue } from './edf-queue.js';
import { type EndpointState, type Tried, wasTried } from './endpoint-state.js';
import { ewmaLoad, isCheaper, isFailing } from './peak-ewma.js';

/** What a balancer picks from: endpoints that may be picked, and their shares. */
export interface BalancerInput {
  /** Not empty. */
  readonly endpoints: readonly EndpointState[];
  /** Share of an endpoint now: its weight, and its ramp. */
  readonly weightOf: (endpoint: EndpointState, nowMs: number) => number;
  /** Whether every endpoint has the same share, now and until the next change. */
  readonly isUniform: boolean;
  /** Candidates that are compared. */
  readonly choices: number;
  /** Chance. */
  readonly random: () => number;
}

/** Picks endpoints of one set; made anew when the set changes. State that must survive lives on the endpoints. */
export interface Balancer {
  /**
   * The next endpoint.
   *
   * @param tried - What the call was sent to before: another is better. Where none is picked, there are further picks.
   */
  pick(nowMs: number, tried?: Tried): EndpointState;
}

/** Makes a {@link Balancer}. Users may bring their own. */
export type BalancerFactory = (input: BalancerInput) => Balancer;

function at(endpoints: readonly EndpointState[], index: number): EndpointState {
  const endpoint = endpoints[index];
  if (endpoint === undefined) throw new Error('invariant: a balancer without endpoints');
  return endpoint;
}

/** Picks by weight; linear in the number of endpoints, used only while weights differ. */
class WeightedSampler {
  readonly #input: BalancerInput;
  readonly #cumulated: Float64Array;
  #computedAtMs = Number.NEGATIVE_INFINITY;

  constructor(input: BalancerInput) {
    this.#input = input;
    this.#cumulated = new Float64Array(input.endpoints.length);
  }

  pick(nowMs: number): EndpointState {
    // Ramps move slowly: shares of a tenth of a second ago are good enough.
    if (nowMs - this.#computedAtMs > 100) this.#compute(nowMs);
    const { endpoints, random } = this.#input;
    const sums = this.#cumulated;
    const goal = random() * (sums[sums.length - 1] ?? 0);
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sums[middle] ?? 0) > goal) high = middle;
      else low = middle + 1;
    }
    return at(endpoints, low);
  }

  #compute(nowMs: number): void {
    let sum = 0;
    this.#input.endpoints.forEach((endpoint, i) => {
      sum += Math.max(1e-9, this.#input.weightOf(endpoint, nowMs));
      this.#cumulated[i] = sum;
    });
    this.#computedAtMs = nowMs;
  }
}

type Load = (endpoint: EndpointState, nowMs: number) => number;
type IsLess = (a: EndpointState, b: EndpointState, nowMs: number) => boolean;

type Is = (endpoint: EndpointState, nowMs: number) => boolean;

/** How many endpoints a pick looks at instead of bad ones. Finagle's effort. */
const effort = 4;
/** Of no more endpoints than these all are looked at instead. */
const few = 16;

/**
 * The least loaded of a few: distinct ones where shares are equal, drawn by share where they are not.
 *
 * @param isBad - What is drawn anew: beside a bad one, any other would be the least loaded, however slow it is.
 */
function powerOfChoices(input: BalancerInput, load: Load, isLess: IsLess, isBad: Is): Balancer {
  const { endpoints, random, choices, isUniform } = input;
  if (endpoints.length === 1) return { pick: () => at(endpoints, 0) };
  return isUniform && choices === 2
    ? bestOfPair(endpoints, random, isLess, isBad)
    : bestOfDraws(input, load, isBad);
}

type DrawAnother = (
  a: EndpointState,
  b: EndpointState,
  nowMs: number,
  tried: Tried | undefined,
) => EndpointState | undefined;
type IsBetter = (one: EndpointState, ...than: Parameters<DrawAnother>) => boolean;

function bestOfPair(
  endpoints: readonly EndpointState[],
  random: () => number,
  isLess: IsLess,
  isBad: Is,
): Balancer {
  const count = endpoints.length;
  const isWaste = (one: EndpointState, nowMs: number, tried: Tried | undefined): boolean =>
    wasTried(one, tried) || isBad(one, nowMs);
  const isBetter: IsBetter = (one, a, b, nowMs, tried) =>
    one !== a && one !== b && !isWaste(one, nowMs, tried);
  // By chance, not the next one: those that fail are often neighbours, and who is next to them is not to get it all.
  const drawAnother: DrawAnother = (a, b, nowMs, tried) => {
    if (count > few) {
      for (let n = 0; n < effort; n++) {
        const one = at(endpoints, Math.floor(random() * count));
        if (isBetter(one, a, b, nowMs, tried)) return one;
      }
      return undefined;
    }
    // No array of them, and no fraction: every retry comes here.
    let good = 0;
    for (let n = 0; n < count; n++) {
      const one = at(endpoints, n);
      if (isBetter(one, a, b, nowMs, tried)) good++;
    }
    if (good === 0) return undefined;
    let left = good === 1 ? 0 : Math.floor(random() * good);
    for (let n = 0; n < count; n++) {
      const one = at(endpoints, n);
      if (isBetter(one, a, b, nowMs, tried) && left-- === 0) return one;
    }
    return undefined;
  };
  return {
    pick(nowMs, tried) {
      // One number for both: 2^53 of them are enough for pairs of any number of endpoints.
      const pair = Math.floor(random() * count * (count - 1));
      const i = Math.floor(pair / (count - 1));
      let j = pair % (count - 1);
      if (j >= i) j++;
      let a = at(endpoints, i);
      let b = at(endpoints, j);
      if (count > 2) {
        if (isWaste(a, nowMs, tried)) a = drawAnother(a, b, nowMs, tried) ?? a;
        if (isWaste(b, nowMs, tried)) b = drawAnother(a, b, nowMs, tried) ?? b;
      }
      const isTriedA = wasTried(a, tried);
      if (isTriedA !== wasTried(b, tried)) return isTriedA ? b : a;
      return isLess(b, a, nowMs) ? b : a;
    },
  };
}

function bestOfDraws(input: BalancerInput, load: Load, isBad: Is): Balancer {
  const { endpoints, random, choices, isUniform } = input;
  const count = endpoints.length;
  const sampler = isUniform ? undefined : new WeightedSampler(input);
  const drawAny = (nowMs: number): EndpointState =>
    sampler === undefined ? at(endpoints, Math.floor(random() * count)) : sampler.pick(nowMs);
  const draw = (nowMs: number): EndpointState => {
    let drawn = drawAny(nowMs);
    for (let i = 0; i < effort && isBad(drawn, nowMs); i++) drawn = drawAny(nowMs);
    return drawn;
  };
  return {
    pick(nowMs) {
      let best = draw(nowMs);
      let bestLoad = load(best, nowMs);
      for (let i = 1; i < choices; i++) {
        const other = draw(nowMs);
        const otherLoad = load(other, nowMs);
        if (otherLoad < bestLoad) {
          best = other;
          bestLoad = otherLoad;
        }
      }
      if (!isBad(best, nowMs)) return best;
      // Shares may leave nothing else to draw.
      const index = Math.floor(random() * count);
      const drawn = at(endpoints, index);
      const other = drawn === best ? at(endpoints, (index + 1) % count) : drawn;
      return load(other, nowMs) < bestLoad ? other : best;
    },
  };
}

/**
 * Power of two choices over peak EWMA of the time to the head, times calls in flight.
 *
 * @see {@link https://linkerd.io/2016/03/16/beyond-round-robin-load-balancing-for-latency/ | Beyond round robin}
 */
export const peakEwma: BalancerFactory = (input) => powerOfChoices(input, ewmaLoad, isCheaper, isFailing);

/** Power of two choices over calls in flight; with unequal weights, earliest deadline first by weight / (active + 1). Envoy `LEAST_REQUEST`. */
export const leastRequest: BalancerFactory = (input) => {
  if (input.isUniform)
    return powerOfChoices(
      input,
      (endpoint) => endpoint.active,
      (a, b) => a.active < b.active,
      () => false,
    );
  return edf(input, (endpoint, nowMs) => input.weightOf(endpoint, nowMs) / (endpoint.active + 1));
};

function edf(input: BalancerInput, weightOf: Load): Balancer {
  let clockMs = 0;
  const current = (endpoint: EndpointState): number => weightOf(endpoint, clockMs);
  let queue: EdfQueue | undefined;
  return {
    pick(nowMs) {
      clockMs = nowMs;
      queue ??= new EdfQueue(input.endpoints, current, input.random);
      return queue.next(current) ?? at(input.endpoints, 0);
    },
  };
}

/** Each in turn; by weight where weights differ. Envoy `ROUND_ROBIN`. */
export const roundRobin: BalancerFactory = (input) => {
  const { endpoints, isUniform, random } = input;
  if (!isUniform) return edf(input, input.weightOf);
  let next = Math.floor(random() * endpoints.length);
  return {
    pick() {
      if (next >= endpoints.length) next = 0;
      return at(endpoints, next++);
    },
  };
};

/** By weight, without memory. Envoy `RANDOM`. */
export const randomPick: BalancerFactory = (input) => {
  const { endpoints, isUniform, random } = input;
  if (!isUniform) {
    const sampler = new WeightedSampler(input);
    return { pick: (nowMs) => sampler.pick(nowMs) };
  }
  return { pick: () => at(endpoints, Math.floor(random() * endpoints.length)) };
};

/** The balancers that a name stands for. */
export const balancersByName: Readonly<Record<BalancerName, BalancerFactory>> = Object.freeze({
  'peak-ewma': peakEwma,
  'least-request': leastRequest,
  'round-robin': roundRobin,
  random: randomPick,
});
