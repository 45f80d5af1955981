import type { Call, MessageCounts } from '@inmesh/core';
import { type Edges, maxPeers } from './edges.js';
import type { Family, MetricStore } from './metric-store.js';
import { edgeLabels, edgeValues } from './request-labels.js';
import type { CounterSeries } from './series.js';

type EdgeOfCall = Pick<Call, 'cluster' | 'facts' | 'side'>;

/** The series of one pair of parties. */
interface Bound {
  readonly requests: CounterSeries;
  readonly responses: CounterSeries;
}

/** Counts the messages of RPCs, like Istio's `istio_request_messages_total` and `istio_response_messages_total`. */
export class MessageMetrics {
  readonly #edges: Edges;
  readonly #requests: Family<CounterSeries>;
  readonly #responses: Family<CounterSeries>;
  readonly #bound = new Map<string, Bound>();
  /** What was counted of calls that are under way. */
  readonly #told = new Map<MessageCounts, MessageCounts>();

  /** @param edges - Who calls whom. */
  constructor(store: MetricStore, edges: Edges) {
    this.#edges = edges;
    const counter = (name: string, help: string): Family<CounterSeries> =>
      store.counter({ name, help, labels: edgeLabels });
    this.#requests = counter('istio_request_messages_total', 'Messages of gRPC from callers.');
    this.#responses = counter('istio_response_messages_total', 'Messages of gRPC to callers.');
  }

  /** Counts what is new of a call that has ended. */
  end(call: EdgeOfCall, counts: MessageCounts): void {
    const told = this.#told.size === 0 ? undefined : this.#told.get(counts);
    this.#add(call, counts, told);
    if (told !== undefined) this.#told.delete(counts);
  }

  /** Counts what is new of a call that goes on. */
  soFar(call: EdgeOfCall, counts: MessageCounts): void {
    const { requests, responses } = counts;
    this.#add(call, counts, this.#told.get(counts));
    this.#told.set(counts, { requests, responses });
  }

  #add(call: EdgeOfCall, { requests, responses }: MessageCounts, told: MessageCounts | undefined): void {
    const bound = this.#boundOf(call);
    // Of another attempt there may be less than of the one before.
    bound.requests.add(Math.max(0, requests - (told?.requests ?? 0)));
    bound.responses.add(Math.max(0, responses - (told?.responses ?? 0)));
  }

  #boundOf(call: EdgeOfCall): Bound {
    const peer = call.facts.connection.peer?.id.uri ?? '';
    const key = call.side === 'server' ? peer : `to ${call.cluster ?? ''}`;
    const known = this.#bound.get(key);
    if (known !== undefined && !known.requests.isGone) return known;
    if (this.#bound.size >= maxPeers) this.#bound.clear();
    const values = edgeValues(this.#edges.of(call));
    const bound = { requests: this.#requests.of(values), responses: this.#responses.of(values) };
    this.#bound.set(key, bound);
    return bound;
  }
}
