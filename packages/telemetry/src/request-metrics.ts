import { type CallEnd, grpcStatusNumber, type Layer, type RefusedCall, type Runtime } from '@inmesh/core';
import { ByEdge } from './by-edge.js';
import type { Edges } from './edges.js';
import { MessageMetrics } from './message-metrics.js';
import type { Family, MetricStore } from './metric-store.js';
import { outcomeOf, requestLabels, requestValues } from './request-labels.js';
import { responseFlag } from './response-flags.js';
import type { CounterSeries, HistogramSeries } from './series.js';

/** Bounds of Istio's histograms, for milliseconds and bytes alike; those of Envoy. */
export const istioBounds: readonly number[] = Object.freeze([
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
]);

/** What {@link RequestMetrics} needs. */
export interface RequestMetricsOptions {
  /** Takes the counts. */
  readonly store: MetricStore;
  /** Who calls whom. */
  readonly edges: Edges;
  /** The trace that a call is in, if that is recorded. @defaultValue nobody traces */
  readonly traceOf?: (call: RefusedCall) => string | undefined;
  /** Time. */
  readonly runtime: Pick<Runtime, 'now' | 'wallMs'>;
}

/** The series of one pair of parties and one outcome. */
interface Bound {
  readonly total: CounterSeries;
  readonly duration: HistogramSeries;
  readonly requestBytes: HistogramSeries;
  readonly responseBytes: HistogramSeries;
}

function isGone({ total, duration, requestBytes, responseBytes }: Bound): boolean {
  return total.isGone || duration.isGone || requestBytes.isGone || responseBytes.isGone;
}

/** Series by outcome, of one pair of parties. */
type Outcomes = Map<number | string, Bound>;

/** Outcomes of one pair of parties that are held on to: statuses come from peers, which may make up any. */
const maxOutcomes = 256;

/** Tells outcomes of one pair apart. A number where nothing failed: no text is made of a call that ends well. */
function keyOf(call: RefusedCall, end: CallEnd): number | string {
  const grpc = call.protocol === 'grpc' ? grpcStatusNumber(end.status) + 1 : 0;
  const isPlain = call.connection?.peer === undefined;
  const bits = (isPlain ? 1 : 0) + (end.isRetryLimitReached === true ? 2 : 0);
  const number = (end.httpStatus * 32 + grpc) * 4 + bits;
  return end.error === undefined ? number : `${number} ${end.error.code} ${responseFlag(call.side, end)}`;
}

/**
 * Counts calls as Istio does, in both directions, with every label. Labels come from what TLS proved, from what peers
 * say of themselves and from what is configured, never from a host, a path or a method.
 *
 * @see {@link https://istio.io/latest/docs/reference/config/metrics/ | Istio standard metrics}
 */
export class RequestMetrics {
  /** Counts calls as they end. */
  readonly layer: Layer = {
    role: 'metrics',
    scope: 'call',
    why: 'what other layers refuse or answer counts, too',
    before: ['authorize'],
    bind: () => ({ end: this.count }),
  };
  readonly #options: RequestMetricsOptions;
  readonly #total: Family<CounterSeries>;
  readonly #duration: Family<HistogramSeries>;
  readonly #requestBytes: Family<HistogramSeries>;
  readonly #responseBytes: Family<HistogramSeries>;
  readonly #messages: MessageMetrics;
  readonly #outcomes = new ByEdge<Outcomes>(() => new Map());

  /** @param options - What it counts into. */
  constructor(options: RequestMetricsOptions) {
    this.#options = options;
    const { store, edges } = options;
    const histogram = (name: string, help: string): Family<HistogramSeries> =>
      store.histogram({ name, help, labels: requestLabels }, istioBounds);
    this.#total = store.counter({
      name: 'istio_requests_total',
      help: 'Requests, when they have ended.',
      labels: requestLabels,
    });
    this.#duration = histogram(
      'istio_request_duration_milliseconds',
      'Time from the head of a request to the last byte of its reply.',
    );
    this.#requestBytes = histogram(
      'istio_request_bytes',
      'Bytes of requests: head and body over HTTP/1.1, bodies alone over HTTP/2 and gRPC.',
    );
    this.#responseBytes = histogram(
      'istio_response_bytes',
      'Bytes of replies, counted like those of requests.',
    );
    this.#messages = new MessageMetrics(store, edges);
  }

  /** Counts a call that has ended. */
  readonly count = (call: RefusedCall, end: CallEnd): void => {
    const outcomes = this.#outcomes.of(call);
    const key = keyOf(call, end);
    let bound = outcomes.get(key);
    if (bound === undefined || isGone(bound)) {
      bound = this.#bind(call, end);
      if (outcomes.size >= maxOutcomes) outcomes.clear();
      outcomes.set(key, bound);
    }
    bound.total.add(1);
    const { runtime, traceOf } = this.#options;
    const durationMs = runtime.now() - call.startedMs;
    const bucket = bound.duration.observe(durationMs);
    const traceId = traceOf?.(call);
    if (traceId !== undefined)
      bound.duration.exemplify(bucket, { traceId, value: durationMs, wallMs: runtime.wallMs() });
    bound.requestBytes.observe(end.requestBytes);
    bound.responseBytes.observe(end.responseBytes);
    if (call.messages !== undefined) this.#messages.end(call, call.messages);
  };

  /** Counts what a call under way has sent so far: a stream may last for days. */
  readonly countSoFar = (call: RefusedCall): void => {
    if (call.messages !== undefined) this.#messages.soFar(call, call.messages);
  };

  #bind(call: RefusedCall, end: CallEnd): Bound {
    const values = requestValues(this.#options.edges.of(call), outcomeOf(call, end));
    return {
      total: this.#total.of(values),
      duration: this.#duration.of(values),
      requestBytes: this.#requestBytes.of(values),
      responseBytes: this.#responseBytes.of(values),
    };
  }
}
