import type { Cluster, ClusterRules, Endpoint } from '@inmesh/core';
import { type BalancerFactory, balancersByName } from './balancers.js';
import { ClusterCounts } from './cluster-counts.js';
import type { ClusterParts } from './cluster-parts.js';
import {
  countEjection,
  countResult,
  type EjectionCause,
  ejectionMs,
  endInterval,
  failingEndpoints,
  mayEject,
} from './ejection.js';
import { EndpointLevels } from './endpoint-levels.js';
import { type AttemptResult, type EndpointState, mergeEndpoints, type Tried } from './endpoint-state.js';
import { guardBalancer } from './guarded-balancer.js';
import { observeLatency } from './peak-ewma.js';
import { type Accepts, isAllowed, nextBack, repick } from './repick.js';
import { recoveryRamp } from './rules.js';

/** Between ejections that are ended early, in milliseconds: where nothing can be reached, that is no news for each call. */
const rescueIntervalMs = 1000;

/** Replies that the average of {@link ClusterState.typicalMs} goes over. */
const typicalWindow = 16;

const noEndpoints: ReadonlyMap<string, EndpointState> = new Map();

/**
 * The live state of one cluster: endpoints and what is known of them, beside what it counts. It survives snapshots;
 * calls pick on it as it is, whichever plan they hold.
 */
export class ClusterState extends ClusterCounts {
  readonly #parts: ClusterParts;
  /** Channels of gRPC; a cluster that is called over HTTP has none. */
  #listeners: Set<() => void> | undefined;
  #cluster: Cluster;
  #states: ReadonlyMap<string, EndpointState> = noEndpoints;
  #levels: EndpointLevels;
  #ejected = 0;
  #nextChangeMs = 0;
  #nextRescueMs = 0;
  #sweptAtMs: number;
  #unsubscribe: () => void;

  /** @param cluster - As configured now. */
  constructor(cluster: Cluster, parts: ClusterParts) {
    super(cluster, parts);
    this.#cluster = cluster;
    this.#parts = parts;
    this.#sweptAtMs = parts.runtime.now();
    this.#levels = this.#build(this.#sweptAtMs);
    this.#unsubscribe = this.#follow(cluster);
  }

  /** Rules in force. */
  override get rules(): ClusterRules {
    return this.#cluster.rules;
  }

  /** The configuration in force. */
  get cluster(): Cluster {
    return this.#cluster;
  }

  /** Endpoints that are configured. */
  get endpoints(): readonly EndpointState[] {
    return [...this.#states.values()];
  }

  /** How many endpoints are configured. */
  get endpointCount(): number {
    return this.#states.size;
  }

  /** How many endpoints picks choose from. */
  get usableCount(): number {
    return this.#levels.usable.length;
  }

  /** Endpoints that are out of balancing. */
  get ejected(): number {
    return this.#ejected;
  }

  /** Puts another configuration of the same cluster in force. */
  configure(cluster: Cluster): void {
    if (cluster === this.#cluster) return;
    const before = this.#cluster;
    this.#cluster = cluster;
    this.budget.replace(cluster.rules.retryBudget);
    if (cluster.endpoints !== before.endpoints) {
      this.#unsubscribe();
      this.#unsubscribe = this.#follow(cluster);
    }
    if (cluster.rules.outlier === undefined) this.#pardon();
    this.#rebuild(this.#parts.runtime.now());
  }

  /** Calls `listener` when endpoints join or leave. */
  onChange(listener: () => void): () => void {
    const listeners = (this.#listeners ??= new Set());
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** It is not configured any more: connections to its endpoints end when what goes over them has. */
  close(): void {
    this.#unsubscribe();
    for (const endpoint of this.#states.values()) endpoint.isGone = true;
    for (const listener of this.#listeners ?? []) listener();
    this.#listeners?.clear();
  }

  /**
   * Picks an endpoint.
   *
   * @param accepts - What it must also fulfil: not tried before, connected. Picks are repeated up to `repicks` times;
   * then any endpoint that fulfils it is taken.
   * @returns `undefined` if there is none, or none that `accepts` takes.
   */
  pick(nowMs: number, accepts?: Accepts, repicks = 5): EndpointState | undefined {
    if (nowMs >= this.#nextChangeMs) this.#refresh(nowMs);
    const picked = this.#levels.pick(nowMs);
    if (picked === undefined) return undefined;
    if (!picked.isOnProbation && accepts === undefined) return picked;
    return repick(this.#levels, picked, nowMs, repicks, this.#probes(), accepts);
  }

  /** As {@link pick}, an endpoint that was not tried; without a closure, as every retry asks for it. */
  pickUntried(nowMs: number, tried: Tried, repicks = 5, accepts?: Accepts): EndpointState | undefined {
    if (nowMs >= this.#nextChangeMs) this.#refresh(nowMs);
    const picked = this.#levels.pick(nowMs, tried);
    return picked && repick(this.#levels, picked, nowMs, repicks, this.#probes(), accepts, tried);
  }

  /**
   * Picks an endpoint that is passed over otherwise: of a priority or locality that gets nothing as long as a nearer one is
   * well, else of weight 0. For calls that went to nobody, where none of the others can be reached.
   *
   * @param tried - What could not be reached: what is beyond the nearest of these counts as well.
   * @returns `undefined` if there is none, or none that `accepts` takes.
   */
  pickSpare(nowMs: number, accepts?: Accepts, tried?: Tried): EndpointState | undefined {
    if (nowMs >= this.#nextChangeMs) this.#refresh(nowMs);
    const { locality = '' } = this.#parts;
    const { endpoints, rules } = this;
    const input = { endpoints, rules, locality, nowMs };
    return this.#levels.pickSpare(input, (one) => isAllowed(one, accepts, tried), tried);
  }

  /** Whether an endpoint is one of those that picks choose from and fulfils a condition. */
  hasUsable(accepts: Accepts): boolean {
    return this.#levels.usable.some(accepts);
  }

  /**
   * Ends an ejection early, where all that is left could not be reached: it goes on probation, and one failure ends
   * that. At most once a second.
   *
   * @returns `undefined` if there is none, or none that `accepts` takes.
   */
  rescue(nowMs: number, accepts?: Accepts, tried?: Tried): EndpointState | undefined {
    if (this.#ejected === 0 || nowMs < this.#nextRescueMs) return undefined;
    const first = nextBack(this.#states.values(), accepts, tried);
    if (first === undefined) return undefined;
    this.#nextRescueMs = nowMs + rescueIntervalMs;
    this.#release(first, nowMs);
    // It was not asked to come back: a failure must not make its next absence longer.
    first.ejections = Math.max(0, first.ejections - 1);
    this.#rebuild(nowMs);
    return first;
  }

  /** An attempt begins. */
  onStart(endpoint: EndpointState): void {
    endpoint.active++;
    endpoint.started++;
  }

  /**
   * The head of a reply came, or an attempt failed without one.
   *
   * @param latencyMs - Time to it, at least the penalty for a failure; `undefined` if it says nothing.
   */
  onResult(
    endpoint: EndpointState,
    result: AttemptResult,
    latencyMs: number | undefined,
    nowMs: number,
  ): void {
    if (latencyMs !== undefined) {
      observeLatency(endpoint, latencyMs, nowMs);
      if (result === 'ok') this.typicalMs += (latencyMs - this.typicalMs) / typicalWindow;
    }
    if (result === 'ok') endpoint.failuresInRow = 0;
    else if (result !== 'unknown') {
      endpoint.failuresInRow++;
      endpoint.failedAtMs = nowMs;
    }
    const { outlier } = this.rules;
    if (outlier === undefined || endpoint.isGone) return;
    const wasOnProbation = endpoint.isOnProbation;
    const cause = countResult(endpoint, result, outlier);
    if (cause !== undefined) this.#eject(endpoint, cause, nowMs);
    else if (wasOnProbation && result === 'ok') this.#welcomeBack(endpoint, nowMs);
  }

  /** The last byte of an attempt, or its end without one. */
  onEnd(endpoint: EndpointState): void {
    endpoint.active--;
  }

  /** A connection was opened: it can be reached again; whether it answers well is for its calls to say. */
  onConnected(endpoint: EndpointState): void {
    endpoint.localErrorsInRow = 0;
  }

  /** No connection to an endpoint could be opened. */
  onUnreachable(): void {
    this.#parts.onUnreachable?.(this.name);
  }

  #follow(cluster: Cluster): () => void {
    return cluster.endpoints.subscribe((state) => {
      // Withdrawn or not there yet: what was known stays. Discovery is last good.
      if (state.kind === 'ready') this.#replaceEndpoints(state.value);
    });
  }

  #replaceEndpoints(endpoints: readonly Endpoint[]): void {
    const nowMs = this.#parts.runtime.now();
    const states = mergeEndpoints(this.#states, endpoints, this.rules.slowStart, nowMs);
    this.#states = states;
    this.#rebuild(nowMs);
    for (const listener of this.#listeners ?? []) listener();
  }

  #probes(): number {
    return this.rules.outlier?.probes ?? 1;
  }

  #eject(endpoint: EndpointState, cause: EjectionCause, nowMs: number): void {
    const { outlier } = this.rules;
    if (outlier === undefined || endpoint.isEjected) return;
    if (!mayEject(outlier, this.#ejected, this.#states.size)) return;
    const ms = ejectionMs(outlier, endpoint, this.random);
    endpoint.isEjected = true;
    endpoint.isOnProbation = false;
    endpoint.ejectedUntilMs = nowMs + ms;
    countEjection(outlier, endpoint);
    endpoint.errorsInRow = 0;
    endpoint.gatewayErrorsInRow = 0;
    endpoint.localErrorsInRow = 0;
    this.countEjection(cause);
    this.#parts.logger.warn(
      { cluster: this.name, endpoint: endpoint.key, cause, ms: Math.round(ms) },
      'endpoint ejected',
    );
    this.#rebuild(nowMs);
  }

  /** Nobody stays out, or on probation, under rules that are gone: nothing would end it. */
  #pardon(): void {
    for (const endpoint of this.#states.values()) {
      endpoint.isEjected = false;
      endpoint.isOnProbation = false;
    }
  }

  #welcomeBack(endpoint: EndpointState, nowMs: number): void {
    const ramp = this.rules.slowStart ?? recoveryRamp;
    endpoint.isOnProbation = false;
    endpoint.rampFromMs = nowMs;
    endpoint.rampMs = ramp.windowMs;
    this.#parts.logger.info({ cluster: this.name, endpoint: endpoint.key }, 'endpoint is back');
    this.#rebuild(nowMs);
  }

  /** What time alone changes: ejections and ramps end, intervals end. Computed when somebody looks, without timers. */
  #refresh(nowMs: number): void {
    const { outlier } = this.rules;
    if (outlier !== undefined) this.#sweep(nowMs, outlier.intervalMs);
    for (const endpoint of this.#states.values()) {
      if (!endpoint.isEjected || (outlier !== undefined && endpoint.ejectedUntilMs > nowMs)) continue;
      this.#release(endpoint, nowMs);
    }
    this.#rebuild(nowMs);
  }

  #release(endpoint: EndpointState, nowMs: number): void {
    endpoint.isEjected = false;
    endpoint.isOnProbation = this.rules.outlier !== undefined;
    endpoint.forget(nowMs);
  }

  #sweep(nowMs: number, intervalMs: number): void {
    const intervals = Math.floor((nowMs - this.#sweptAtMs) / intervalMs);
    if (intervals < 1) return;
    const { outlier } = this.rules;
    this.#sweptAtMs += intervals * intervalMs;
    if (outlier !== undefined)
      for (const endpoint of failingEndpoints(this.endpoints, outlier))
        this.#eject(endpoint, 'failure-percentage', nowMs);
    for (const endpoint of this.#states.values()) endInterval(endpoint, intervals);
  }

  #rebuild(nowMs: number): void {
    this.#levels = this.#build(nowMs);
  }

  #factory(): BalancerFactory {
    const { balancers } = this.#parts;
    const own =
      balancers !== undefined && Object.hasOwn(balancers, this.name) ? balancers[this.name] : undefined;
    if (own === undefined) return balancersByName[this.rules.balancer];
    return guardBalancer(own, (error) => this.onThrown('balancer', error));
  }

  #build(nowMs: number): EndpointLevels {
    const { locality = '' } = this.#parts;
    const { rules } = this.#cluster;
    const endpoints = this.endpoints;
    const levels = new EndpointLevels({
      endpoints,
      rules,
      locality,
      factory: this.#factory(),
      random: this.random,
      nowMs,
    });
    this.#ejected = 0;
    let next = levels.rampsEndMs;
    for (const endpoint of endpoints) {
      if (!endpoint.isEjected) continue;
      this.#ejected++;
      next = Math.min(next, endpoint.ejectedUntilMs);
    }
    if (rules.outlier !== undefined) next = Math.min(next, this.#sweptAtMs + rules.outlier.intervalMs);
    this.#nextChangeMs = next;
    return levels;
  }
}
