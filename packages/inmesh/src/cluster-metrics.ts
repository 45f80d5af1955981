import type { Clusters } from '@inmesh/resilience';
import type { CollectedFamily, MetricStore, Sample } from '@inmesh/telemetry';
import { type ClusterReport, reportStats } from './stats.js';

type Figure = (cluster: ClusterReport) => number;

const counters: Readonly<Record<string, readonly [help: string, figure: Figure]>> = {
  inmesh_upstream_calls_total: ['Calls that were begun.', ({ calls }) => calls],
  inmesh_upstream_retries_total: ['Attempts that were sent again.', ({ retries }) => retries],
  inmesh_upstream_retry_refusals_total: [
    'Retries that the budget refused.',
    ({ budgetRefusals }) => budgetRefusals,
  ],
  inmesh_upstream_overflows_total: ['Calls and attempts that a limit refused.', ({ overflows }) => overflows],
};

const gauges: Readonly<Record<string, readonly [help: string, figure: Figure]>> = {
  inmesh_upstream_active_calls: ['Calls in flight, to their last byte.', ({ activeCalls }) => activeCalls],
  inmesh_upstream_pending_attempts: ['Attempts that wait for a connection.', ({ pending }) => pending],
  inmesh_upstream_connections: [
    'Connections that are open or being opened.',
    ({ connections }) => connections,
  ],
  inmesh_upstream_retry_tokens: [
    'Retries that the budget would pay for.',
    ({ retryTokens }) => Math.floor(retryTokens),
  ],
};

function endpointStates(clusters: readonly ClusterReport[]): readonly Sample[] {
  return clusters.flatMap(({ name, endpoints }) => {
    const ejected = endpoints.filter(({ isEjected }) => isEjected).length;
    return [
      [[name, 'ready'], endpoints.length - ejected],
      [[name, 'ejected'], ejected],
    ] as const satisfies readonly Sample[];
  });
}

function* attempts(clusters: Clusters): Iterable<Sample> {
  for (const { name, attemptCounts } of clusters.all)
    for (const { result, reason = '', count } of attemptCounts) yield [[name, result, reason], count];
}

function* ejections(clusters: Clusters): Iterable<Sample> {
  for (const { name, ejectionCounts } of clusters.all)
    for (const [cause, count] of Object.entries(ejectionCounts)) yield [[name, cause], count];
}

/** Shows what is known of the clusters that were called. Read from them when somebody asks: calls pay nothing. */
export function addClusterMetrics(store: MetricStore, clusters: Clusters): void {
  const report = (): readonly ClusterReport[] => reportStats(clusters, 0).clusters;
  const labels = ['destination_service'];
  const add = (
    figures: Readonly<Record<string, readonly [string, Figure]>>,
    type: CollectedFamily['type'],
  ): void => {
    for (const [name, [help, figure]] of Object.entries(figures))
      store.collected({
        name,
        help,
        labels,
        type,
        collect: () => report().map((cluster) => [[cluster.name], figure(cluster)] as const),
      });
  };
  add(counters, 'counter');
  store.collected({
    name: 'inmesh_upstream_attempts_total',
    help: 'Attempts of calls, when it is known what they came to, by that and by why they were made; no reason for the first of a call.',
    labels: [...labels, 'result', 'retry_reason'],
    type: 'counter',
    collect: () => attempts(clusters),
  });
  store.collected({
    name: 'inmesh_upstream_ejections_total',
    help: 'Endpoints that were taken out of balancing, by why.',
    labels: [...labels, 'reason'],
    type: 'counter',
    collect: () => ejections(clusters),
  });
  add(gauges, 'gauge');
  store.collected({
    name: 'inmesh_upstream_endpoints',
    help: 'Endpoints, by whether calls may go to them.',
    labels: [...labels, 'state'],
    type: 'gauge',
    collect: () => endpointStates(report()),
  });
}
