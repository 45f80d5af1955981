import type { ClusterRules } from '@inmesh/core';
import type { Balancer, BalancerFactory, BalancerInput } from './balancers.js';
import type { EndpointState, Tried } from './endpoint-state.js';
import { isFailing } from './peak-ewma.js';
import { type LevelHealth, localityDistance, localityWeight, priorityLoad } from './priority-load.js';
import { rampFactor } from './ramp.js';
import { recoveryRamp } from './rules.js';

/** What picking structures are built of. */
export interface LevelsInput {
  /** Endpoints that are configured. */
  readonly endpoints: readonly EndpointState[];
  /** Rules of the cluster. */
  readonly rules: ClusterRules;
  /** Our own `region/zone/subzone`; empty if it is not known. */
  readonly locality: string;
  /** Makes the balancers. */
  readonly factory: BalancerFactory;
  /** Chance. */
  readonly random: () => number;
  /** Now. */
  readonly nowMs: number;
}

/** Beyond every priority. */
const lastRank = 2 ** 40;

/** What says how near an endpoint is. */
type Place = Pick<LevelsInput, 'rules' | 'locality'>;

/** A share of traffic, and where it goes. */
interface Share {
  /** Sum of shares up to and with this one. */
  readonly upTo: number;
  readonly balancer: Balancer;
}

/** Weighted choice between balancers; the usual case is one. */
type Shares = readonly Share[];

function choose(shares: Shares, random: () => number): Balancer | undefined {
  const first = shares[0];
  if (first === undefined || shares.length === 1) return first?.balancer;
  const goal = random() * (shares[shares.length - 1]?.upTo ?? 0);
  for (const share of shares) if (goal < share.upTo) return share.balancer;
  return shares[shares.length - 1]?.balancer;
}

function addShare(shares: Share[], size: number, balancer: Balancer): void {
  shares.push({ upTo: (shares[shares.length - 1]?.upTo ?? 0) + size, balancer });
}

const isHealthy = (endpoint: EndpointState): boolean => !endpoint.isEjected;

function healthOf(endpoints: readonly EndpointState[]): LevelHealth {
  return { healthy: endpoints.filter(isHealthy).length, total: endpoints.length };
}

function groupBy<K>(
  endpoints: readonly EndpointState[],
  keyOf: (endpoint: EndpointState) => K,
): ReadonlyMap<K, readonly EndpointState[]> {
  const groups = new Map<K, EndpointState[]>();
  for (const endpoint of endpoints) {
    const key = keyOf(endpoint);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [endpoint]);
    else group.push(endpoint);
  }
  return groups;
}

function sharesOf(input: LevelsInput, usable: EndpointState[]): Shares {
  const { endpoints, rules } = input;
  const levels = [...groupBy(endpoints, (one) => priorityOf(input, one))]
    .sort(([a], [b]) => a - b)
    .map(([, level]) => level);
  const load = priorityLoad(levels.map(healthOf), rules.overprovisioning, rules.panicPercent);
  const shares: Share[] = [];
  levels.forEach((level, i) => {
    const percent = load.percent[i] ?? 0;
    if (percent === 0) return;
    const isPanicking = load.isPanicking[i] ?? false;
    const members = isPanicking ? level : level.filter(isHealthy);
    if (members.length === 0) return;
    const inner = localities(input, level, members, isPanicking, usable);
    addShare(
      shares,
      percent,
      inner.length === 1 && inner[0] !== undefined ? inner[0].balancer : nested(inner, input.random),
    );
  });
  return shares;
}

/** Priority as configured, refined by how near an endpoint is. */
function priorityOf({ rules, locality }: Place, { endpoint }: EndpointState): number {
  const priority = endpoint.priority ?? 0;
  if (!rules.localityFailover || locality === '') return priority * 4;
  return priority * 4 + localityDistance(locality, endpoint.locality);
}

function weightOfLocality({ rules: { localityWeights } }: Place, locality: string): number {
  if (localityWeights === undefined || !Object.hasOwn(localityWeights, locality)) return 1;
  return localityWeights[locality] ?? 1;
}

function hasNoWeight(place: Place, { weight, endpoint }: EndpointState): boolean {
  return weight === 0 || weightOfLocality(place, endpoint.locality ?? '') === 0;
}

function localities(
  input: LevelsInput,
  level: readonly EndpointState[],
  members: readonly EndpointState[],
  isPanicking: boolean,
  usable: EndpointState[],
): Shares {
  const { localityWeights, overprovisioning } = input.rules;
  if (localityWeights === undefined) return [{ upTo: 1, balancer: balancerOf(input, members, usable) }];
  const shares: Share[] = [];
  for (const [locality, all] of groupBy(level, (one) => one.endpoint.locality ?? '')) {
    const inside = isPanicking ? all : all.filter(isHealthy);
    if (inside.length === 0) continue;
    const weight = weightOfLocality(input, locality);
    const size = isPanicking ? weight : localityWeight(weight, healthOf(all), overprovisioning);
    if (size > 0) addShare(shares, size, balancerOf(input, inside, usable));
  }
  // Weights of 0 must not leave a level without any endpoint that the priorities count on.
  return shares.length > 0 ? shares : [{ upTo: 1, balancer: balancerOf(input, members, usable) }];
}

function balancerOf(
  input: LevelsInput,
  members: readonly EndpointState[],
  usable: EndpointState[],
): Balancer {
  const { factory, rules, random, nowMs } = input;
  const ramp = rules.slowStart ?? recoveryRamp;
  const weightOf: BalancerInput['weightOf'] = (endpoint, now) => {
    const { rampFromMs, rampMs, weight } = endpoint;
    const elapsed = now - rampFromMs;
    return elapsed >= rampMs ? weight : weight * rampFactor(ramp, elapsed, rampMs);
  };
  const first = members[0]?.weight ?? 1;
  const isUniform = members.every((one) => one.weight === first && one.rampFromMs + one.rampMs <= nowMs);
  // Endpoints of weight 0 get nothing, as long as there is any other.
  const weighted = members.filter((one) => one.weight > 0);
  const endpoints = weighted.length > 0 ? weighted : members;
  usable.push(...endpoints);
  return factory({ endpoints, weightOf, isUniform, choices: rules.choices, random });
}

/**
 * Endpoints as picks want them: priorities, localities and packed arrays, built when something changes and never for
 * a call. Frozen in what it contains; latency and calls in flight live on the endpoints.
 */
export class EndpointLevels {
  readonly #random: () => number;
  readonly #shares: Shares;
  /** When a ramp ends, so that shares become simpler; `Infinity` if none is under way. */
  readonly rampsEndMs: number;
  /** Endpoints that picks choose from, in any order. */
  readonly usable: readonly EndpointState[];
  #isUsable: ReadonlySet<EndpointState> | undefined;

  /** @param input - See there. */
  constructor(input: LevelsInput) {
    this.#random = input.random;
    const { endpoints, nowMs } = input;
    this.rampsEndMs = endpoints.reduce((endMs, { rampFromMs, rampMs }) => {
      const end = rampFromMs + rampMs;
      return end > nowMs ? Math.min(endMs, end) : endMs;
    }, Number.POSITIVE_INFINITY);
    const usable: EndpointState[] = [];
    this.#shares = sharesOf(input, usable);
    this.usable = usable;
  }

  /** Picks by the rules; `undefined` if there is nothing to pick from. */
  pick(nowMs: number, tried?: Tried): EndpointState | undefined {
    return choose(this.#shares, this.#random)?.pick(nowMs, tried);
  }

  /**
   * Picks among healthy endpoints that picks pass over, nearest first: those of levels that get nothing as long as others
   * are well, and after all of them those of weight 0.
   *
   * @param input - What this was made of, but for what picks need: it is not kept for a case that is so rare.
   * @param tried - Levels beyond the nearest of these count as well, though they may have a share by now: those in which
   * nothing was tried come first.
   */
  pickSpare(
    input: Place & Pick<LevelsInput, 'endpoints' | 'nowMs'>,
    isAllowed: (endpoint: EndpointState) => boolean,
    tried?: Tried,
  ): EndpointState | undefined {
    const { endpoints } = input;
    const count = endpoints.length;
    this.#isUsable ??= new Set(this.usable);
    const levels = levelsOf(input, tried);
    const nearest = Math.min(...levels);
    // Equals in turn, not always the first of them.
    const start = Math.floor(this.#random() * count);
    let best: EndpointState | undefined;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const one = endpoints[(start + i) % count];
      if (one === undefined || one.isEjected || !isAllowed(one)) continue;
      if (priorityOf(input, one) <= nearest && this.#isUsable.has(one)) continue;
      const rank = spareRank(input, levels, one);
      if (best !== undefined && (rank > bestRank || (rank === bestRank && one.active >= best.active)))
        continue;
      best = one;
      bestRank = rank;
    }
    return best;
  }
}

function levelsOf(place: Place, tried: Tried | undefined): ReadonlySet<number> {
  const levels = new Set<number>();
  for (let one = tried; one !== undefined; one = one.before) levels.add(priorityOf(place, one.endpoint));
  return levels;
}

/** How late it is a spare one's turn: in levels where something was tried, later; of a level, those that fail last. */
function spareRank(
  place: Place & Pick<LevelsInput, 'nowMs'>,
  triedLevels: ReadonlySet<number>,
  endpoint: EndpointState,
): number {
  const level = priorityOf(place, endpoint);
  const near = isFailing(endpoint, place.nowMs) ? level + 0.5 : level;
  if (hasNoWeight(place, endpoint)) return near + 2 * lastRank;
  return triedLevels.has(level) ? near + lastRank : near;
}

function nested(shares: Shares, random: () => number): Balancer {
  return {
    pick(nowMs, tried) {
      const balancer = choose(shares, random);
      if (balancer === undefined) throw new Error('invariant: a level without localities');
      return balancer.pick(nowMs, tried);
    },
  };
}
