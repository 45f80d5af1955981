import type {
  Backoff,
  BackoffRules,
  Cluster,
  ClusterLimits,
  ClusterRules,
  MeshError,
  NoRetryReason,
  RetryReason,
} from '@inmesh/core';
import { type AttemptCount, AttemptCounts, type CountedResult } from './attempt-counts.js';
import { backoffMs } from './backoff.js';
import type { ClusterParts, ClusterStats } from './cluster-parts.js';
import { overflow } from './driver-errors.js';
import { type EjectionCause, type EjectionCounts, noEjections } from './ejection.js';
import { allowedRetries, RetryBudget } from './retry-budget.js';
import { defaultBackoff } from './rules.js';

/** What goes on in one cluster, against its limits: calls, connections, retries and what pays for them. */
export abstract class ClusterCounts {
  /** Name. */
  readonly name: string;
  /** Pays for retries. */
  readonly budget: RetryBudget;
  /** Counts. */
  readonly stats: ClusterStats = { calls: 0, retries: 0, budgetRefusals: 0, overflows: 0, ejections: 0 };
  /** Calls in flight, to their last byte. */
  activeCalls = 0;
  /** Attempts that wait for a connection. */
  pending = 0;
  /** Connections that are open or being opened. */
  connections = 0;
  /** Average time to the head of a good reply, in milliseconds: what another attempt would probably take. */
  typicalMs = 0;
  /** Retries between their scheduling and their end. */
  activeRetries = 0;
  /** Chance. */
  readonly random: () => number;
  /** Made with the first one, like the next: many clusters are known and never called. */
  #attempts: AttemptCounts | undefined;
  #ejections: Record<EjectionCause, number> | undefined;
  readonly #logger: ClusterParts['logger'];
  /** What threw already; most clusters have no functions of the application. */
  #thrown: Set<string> | undefined;

  /** @param cluster - As configured now. */
  constructor(cluster: Cluster, { runtime, random, logger }: ClusterParts) {
    this.name = cluster.name;
    this.#logger = logger;
    this.random = random ?? runtime.random.bind(runtime);
    this.budget = new RetryBudget(cluster.rules.retryBudget);
  }

  /** Rules in force. */
  abstract get rules(): ClusterRules;

  /**
   * A call begins: counts it in, until somebody takes it off {@link activeCalls}.
   *
   * @returns Why it may not.
   */
  admit(): MeshError | undefined {
    const { maxRequests } = this.rules.limits;
    this.stats.calls++;
    if (this.activeCalls >= maxRequests) {
      return this.overflow('maxRequests', this.activeCalls);
    }
    this.activeCalls++;
    return undefined;
  }

  /**
   * An attempt begins to wait for a connection: counts it in, until somebody takes it off {@link pending}.
   *
   * @returns Why it may not.
   */
  queue(): MeshError | undefined {
    if (this.pending >= this.rules.limits.maxPending) return this.overflow('maxPending', this.pending);
    this.pending++;
    return undefined;
  }

  /** Attempts that have ended. */
  get attemptCounts(): readonly AttemptCount[] {
    return this.#attempts?.read() ?? [];
  }

  /** Endpoints that were taken out, by why. */
  get ejectionCounts(): EjectionCounts {
    return this.#ejections ?? noEjections;
  }

  /**
   * An attempt has ended: to be counted once.
   *
   * @param reason - Why it was made; `undefined` for the first of its call.
   */
  countAttempt(result: CountedResult, reason: RetryReason | undefined): void {
    this.#attempts ??= new AttemptCounts();
    this.#attempts.add(result, reason);
  }

  /** An endpoint was taken out. */
  protected countEjection(cause: EjectionCause): void {
    this.stats.ejections++;
    this.#ejections ??= { ...noEjections };
    this.#ejections[cause]++;
  }

  /** Counts what goes beyond a limit, and says so. */
  overflow(limit: keyof ClusterLimits, count: number): MeshError {
    this.stats.overflows++;
    return overflow(this.name, limit, count, this.rules.limits[limit]);
  }

  /** Something of the user's threw instead of answering; calls go on without it. Logged once. */
  onThrown(what: 'backoff' | 'balancer' | 'classifier', error: unknown): void {
    if (this.#thrown?.has(what) === true) return;
    this.#thrown ??= new Set();
    this.#thrown.add(what);
    this.#logger.error({ cluster: this.name, what, error }, 'a function of the application threw');
  }

  /**
   * Wait before a retry, in milliseconds; the default one where a function of the user's throws.
   *
   * @param retry - 1 for the first.
   */
  backoffMs(backoff: Backoff | BackoffRules, retry: number): number {
    if (typeof backoff !== 'function') return backoffMs(backoff, retry, this.random);
    try {
      return backoffMs(backoff, retry, this.random);
    } catch (error) {
      this.onThrown('backoff', error);
      return backoffMs(defaultBackoff, retry, this.random);
    }
  }

  /** Whether a retry may be made; if so it must be given back with {@link releaseRetry}. */
  tryRetry(): boolean {
    if (this.#hasRetriesEnough() || !this.budget.tryWithdraw()) {
      this.stats.budgetRefusals++;
      return false;
    }
    this.activeRetries++;
    this.stats.retries++;
    return true;
  }

  /** Why {@link tryRetry} has just said no. */
  get retryRefusal(): NoRetryReason {
    return this.#hasRetriesEnough() ? 'retry-concurrency' : 'budget-empty';
  }

  /**
   * A retry has ended.
   *
   * @param wasMade - `false` for one that its call did not wait for: it cost nobody anything.
   */
  releaseRetry(wasMade = true): void {
    this.activeRetries--;
    if (wasMade) return;
    this.stats.retries--;
    this.budget.giveBack();
  }

  #hasRetriesEnough(): boolean {
    const { retryConcurrency } = this.rules;
    return (
      retryConcurrency !== undefined &&
      this.activeRetries >= allowedRetries(retryConcurrency, this.activeCalls + this.pending)
    );
  }
}
