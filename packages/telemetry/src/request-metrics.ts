import {
  type Call,
  type CallEnd,
  grpcStatusNumber,
  type Layer,
  type Runtime,
  type SpiffeId,
  type Workload,
} from '@inmesh/core';
import type { Family, MetricStore } from './metric-store.js';
import {
  type CalledService,
  outcomeOf,
  ownParty,
  type Party,
  provenParty,
  requestLabels,
  requestValues,
} from './request-labels.js';
import { responseFlag } from './response-flags.js';
import type { CounterSeries, HistogramSeries } from './series.js';

/** Bounds of Istio's histograms, for milliseconds and bytes alike; those of Envoy. */
export const istioBounds: readonly number[] = Object.freeze([
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
]);

/** Peers of which series are held on to; beyond it they are looked up anew. */
const maxPeers = 4096;

/** What {@link requestMetrics} needs. */
export interface RequestMetricsOptions {
  /** Takes the counts. */
  readonly store: MetricStore;
  /** Who we are. */
  readonly workload: Workload;
  /** Our own SPIFFE ID. */
  readonly principal: () => string;
  /** Identities that the endpoints of a cluster must prove. */
  readonly identitiesOf: (cluster: string) => readonly Pick<SpiffeId, 'uri'>[];
  /** Time. */
  readonly runtime: Pick<Runtime, 'now'>;
}

/** The series of one pair of parties and one outcome. */
interface Bound {
  readonly total: CounterSeries;
  readonly duration: HistogramSeries;
}

/** Series by outcome, of one pair of parties. */
type Outcomes = Map<string, Bound>;

/** Text that is made once per outcome, so that a call that ends like others makes none. */
const outcomeKeys = new Map<number, string>();

/** Tells outcomes of one pair apart. */
function keyOf(call: Call, end: CallEnd): string {
  const grpc = call.protocol === 'grpc' ? grpcStatusNumber(end.status) + 1 : 0;
  const isPlain = call.side === 'server' && call.facts.connection.peer === undefined;
  const number = (end.httpStatus * 32 + grpc) * 2 + (isPlain ? 1 : 0);
  if (end.error !== undefined) return `${number} ${end.error.code} ${responseFlag(call.side, end)}`;
  let key = outcomeKeys.get(number);
  if (key === undefined) {
    key = String(number);
    // Statuses come from peers; a table of all that a peer may make up would be one more way to fill memory.
    if (outcomeKeys.size < maxPeers) outcomeKeys.set(number, key);
  }
  return key;
}

class RequestMetrics {
  readonly #options: RequestMetricsOptions;
  readonly #total: Family<CounterSeries>;
  readonly #duration: Family<HistogramSeries>;
  /** By the peer of an inbound call, by the cluster of an outbound one. */
  readonly #inbound = new Map<string, Outcomes>();
  readonly #outbound = new Map<string, Outcomes>();

  constructor(options: RequestMetricsOptions) {
    this.#options = options;
    const labels = requestLabels;
    this.#total = options.store.counter({
      name: 'istio_requests_total',
      help: 'Requests, when they have ended.',
      labels,
    });
    this.#duration = options.store.histogram(
      {
        name: 'istio_request_duration_milliseconds',
        help: 'Time from the head of a request to the last byte of its reply.',
        labels,
      },
      istioBounds,
    );
  }

  readonly onInbound = (call: Call, end: CallEnd): void => {
    this.#count(this.#inbound, call.facts.connection.peer?.id.uri ?? '', call, end);
  };

  readonly onOutbound = (call: Call, end: CallEnd): void => {
    this.#count(this.#outbound, call.cluster ?? '', call, end);
  };

  #count(parties: Map<string, Outcomes>, name: string, call: Call, end: CallEnd): void {
    let outcomes = parties.get(name);
    if (outcomes === undefined) {
      if (parties.size >= maxPeers) parties.clear();
      outcomes = new Map();
      parties.set(name, outcomes);
    }
    const key = keyOf(call, end);
    let bound = outcomes.get(key);
    if (bound === undefined || bound.total.isGone || bound.duration.isGone) {
      bound = this.#bind(call, end);
      outcomes.set(key, bound);
    }
    bound.total.add(1);
    bound.duration.observe(this.#options.runtime.now() - call.startedMs);
  }

  #bind(call: Call, end: CallEnd): Bound {
    const { workload, principal } = this.#options;
    const own = ownParty(workload, principal());
    const isServer = call.side === 'server';
    const values = requestValues(
      isServer ? 'destination' : 'source',
      isServer ? provenParty(call.facts.connection.peer?.id.uri) : own,
      isServer ? own : this.#called(call.cluster ?? ''),
      isServer
        ? { name: workload.service, namespace: workload.namespace }
        : this.#service(call.cluster ?? ''),
      outcomeOf(call, end),
    );
    return { total: this.#total.of(values), duration: this.#duration.of(values) };
  }

  /** Where one identity alone will do, it is the one that answered. */
  #called(cluster: string): Party {
    const [identity, other] = this.#options.identitiesOf(cluster);
    return provenParty(other === undefined ? identity?.uri : undefined);
  }

  #service(cluster: string): CalledService {
    const [name = '', namespace = this.#options.workload.namespace] = cluster.split('.');
    return { name, namespace };
  }
}

/**
 * The layer that counts calls as Istio does, in both directions: `istio_requests_total` and
 * `istio_request_duration_milliseconds` with every label. Labels come from what TLS proved and from what is configured,
 * never from a host, a path or a method.
 *
 * @see {@link https://istio.io/latest/docs/reference/config/metrics/ | Istio standard metrics}
 */
export function requestMetrics(options: RequestMetricsOptions): Layer {
  const metrics = new RequestMetrics(options);
  return {
    role: 'metrics',
    scope: 'call',
    why: 'what other layers refuse or answer counts, too',
    before: ['authorize'],
    bind: ({ side }) => ({ end: side === 'server' ? metrics.onInbound : metrics.onOutbound }),
  };
}
