import type { Call } from '@inmesh/core';
import type { ClusterStats, Clusters } from '@inmesh/resilience';

/** What is known of one endpoint. */
export interface EndpointReport {
  /** `host:port`. */
  readonly address: string;
  /** Attempts in flight, to their last byte. */
  readonly active: number;
  /** Attempts ever started. */
  readonly started: number;
  /** Peak average of the time to the head, in milliseconds; failures count as 5 s. */
  readonly costMs: number;
  /** Whether it is out of balancing. */
  readonly isEjected: boolean;
}

/** What is known of one cluster. */
export interface ClusterReport extends Readonly<ClusterStats> {
  /** Name. */
  readonly name: string;
  /** Calls in flight, to their last byte. */
  readonly activeCalls: number;
  /** Attempts that wait for a connection. */
  readonly pending: number;
  /** Connections open or being opened. */
  readonly connections: number;
  /** Retries under way or waiting. */
  readonly activeRetries: number;
  /** Tokens left of the retry budget. */
  readonly retryTokens: number;
  /** Its endpoints. */
  readonly endpoints: readonly EndpointReport[];
}

/** What a mesh knows of the clusters it has called. */
export interface MeshStats {
  /** Those that were called. */
  readonly clusters: readonly ClusterReport[];
  /** HTTP requests by fetch and the dispatcher, and connections by agents, to names that are none of the mesh's. */
  readonly passedThrough: number;
}

/** Takes the counts of now. */
export function reportStats(clusters: Clusters, passedThrough: number): MeshStats {
  return {
    passedThrough,
    clusters: clusters.all.map((one) => ({
      name: one.name,
      ...one.stats,
      activeCalls: one.activeCalls,
      pending: one.pending,
      connections: one.connections,
      activeRetries: one.activeRetries,
      retryTokens: one.budget.tokens,
      endpoints: one.endpoints.map(({ key, active, started, costMs, isEjected }) => ({
        address: key,
        active,
        started,
        costMs,
        isEjected,
      })),
    })),
  };
}

/** How long the call in whose handler we are may still take. */
export interface CallDeadline {
  /** Milliseconds left; 0 when it has passed. */
  readonly remainingMs: number;
  /** Aborts when the call ends early: its time is over, or its caller left. Made when first read. */
  readonly signal: AbortSignal;
}

/** The deadline of an inbound call; `undefined` if it has none. */
export function deadlineOf(call: Call | undefined, nowMs: number): CallDeadline | undefined {
  if (call === undefined || call.deadlineMs === Number.POSITIVE_INFINITY) return undefined;
  return {
    remainingMs: Math.max(0, call.deadlineMs - nowMs),
    get signal() {
      return call.signal;
    },
  };
}
