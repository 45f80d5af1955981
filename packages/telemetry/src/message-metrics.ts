import type { MessageCounts } from '@inmesh/core';
import { ByEdge } from './by-edge.js';
import type { EdgeCall, Edges } from './edges.js';
import type { Family, MetricStore } from './metric-store.js';
import { edgeLabels, edgeValues } from './request-labels.js';
import type { CounterSeries } from './series.js';

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
  readonly #bound: ByEdge<Bound>;
  /** What was counted of calls that are under way. */
  readonly #told = new Map<MessageCounts, MessageCounts>();

  /** @param edges - Who calls whom. */
  constructor(store: MetricStore, edges: Edges) {
    this.#edges = edges;
    const counter = (name: string, help: string): Family<CounterSeries> =>
      store.counter({ name, help, labels: edgeLabels });
    this.#requests = counter('istio_request_messages_total', 'Messages of gRPC from callers.');
    this.#responses = counter('istio_response_messages_total', 'Messages of gRPC to callers.');
    this.#bound = new ByEdge((call) => this.#bind(call));
  }

  /** Counts what is new of a call that has ended. */
  end(call: EdgeCall, counts: MessageCounts): void {
    const told = this.#told.size === 0 ? undefined : this.#told.get(counts);
    this.#add(call, counts, told);
    if (told !== undefined) this.#told.delete(counts);
  }

  /** Counts what is new of a call that goes on. */
  soFar(call: EdgeCall, counts: MessageCounts): void {
    const { requests, responses } = counts;
    this.#add(call, counts, this.#told.get(counts));
    this.#told.set(counts, { requests, responses });
  }

  #add(call: EdgeCall, { requests, responses }: MessageCounts, told: MessageCounts | undefined): void {
    const bound = this.#boundOf(call);
    // Of another attempt there may be less than of the one before.
    bound.requests.add(Math.max(0, requests - (told?.requests ?? 0)));
    bound.responses.add(Math.max(0, responses - (told?.responses ?? 0)));
  }

  #boundOf(call: EdgeCall): Bound {
    const bound = this.#bound.of(call);
    return bound.requests.isGone || bound.responses.isGone ? this.#bound.renew(call) : bound;
  }

  #bind(call: EdgeCall): Bound {
    const values = edgeValues(this.#edges.of(call));
    return { requests: this.#requests.of(values), responses: this.#responses.of(values) };
  }
}
