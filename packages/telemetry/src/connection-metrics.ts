import type { Edges } from './edges.js';
import type { Family, MetricStore } from './metric-store.js';
import { tcpLabels, tcpValues } from './request-labels.js';
import type { CounterSeries } from './series.js';

/** A connection whose bytes are counted. */
export interface CountedConnection {
  /** Read so far. */
  readonly bytesRead: number;
  /** Written so far. */
  readonly bytesWritten: number;
  /** Calls `listener` when it closes. */
  once(event: 'close', listener: () => void): unknown;
}

/** The series of one cluster. */
interface Bound {
  readonly opened: CounterSeries;
  readonly closed: CounterSeries;
  readonly sent: CounterSeries;
  readonly received: CounterSeries;
}

/** What was counted of an open connection. */
interface Told {
  readonly cluster: string;
  read: number;
  written: number;
}

/**
 * Counts connections that carry what no layer sees, as Istio counts TCP: `istio_tcp_connections_opened_total`,
 * `istio_tcp_connections_closed_total`, `istio_tcp_sent_bytes_total`, `istio_tcp_received_bytes_total`.
 */
export class ConnectionMetrics {
  readonly #edges: Edges;
  readonly #opened: Family<CounterSeries>;
  readonly #closed: Family<CounterSeries>;
  readonly #sent: Family<CounterSeries>;
  readonly #received: Family<CounterSeries>;
  readonly #open = new Map<CountedConnection, Told>();

  /** @param edges - Who calls whom. */
  constructor(store: MetricStore, edges: Edges) {
    this.#edges = edges;
    const counter = (name: string, help: string): Family<CounterSeries> =>
      store.counter({ name, help, labels: tcpLabels });
    this.#opened = counter(
      'istio_tcp_connections_opened_total',
      'Connections of the agent that were opened.',
    );
    this.#closed = counter(
      'istio_tcp_connections_closed_total',
      'Connections of the agent that were closed.',
    );
    this.#sent = counter('istio_tcp_sent_bytes_total', 'Bytes that connections of the agent brought back.');
    this.#received = counter(
      'istio_tcp_received_bytes_total',
      'Bytes that were sent over connections of the agent.',
    );
    store.beforeRead(() => this.#countOpen());
  }

  /** A connection to a cluster is open. */
  readonly onOpen = (cluster: string, connection: CountedConnection): void => {
    this.#open.set(connection, { cluster, read: 0, written: 0 });
    this.#boundOf(cluster).opened.add(1);
    connection.once('close', () => {
      this.#count(connection);
      this.#open.delete(connection);
      this.#boundOf(cluster).closed.add(1);
    });
  };

  #countOpen(): void {
    for (const connection of this.#open.keys()) this.#count(connection);
  }

  #count(connection: CountedConnection): void {
    const told = this.#open.get(connection);
    if (told === undefined) return;
    const { bytesRead, bytesWritten } = connection;
    const bound = this.#boundOf(told.cluster);
    // Named after what the source of the connection sees of a proxy: it receives the request and sends the reply.
    bound.received.add(bytesWritten - told.written);
    bound.sent.add(bytesRead - told.read);
    told.read = bytesRead;
    told.written = bytesWritten;
  }

  /** Connections are rare: no series is held on to. */
  #boundOf(cluster: string): Bound {
    const values = tcpValues(this.#edges.outbound(cluster));
    return {
      opened: this.#opened.of(values),
      closed: this.#closed.of(values),
      sent: this.#sent.of(values),
      received: this.#received.of(values),
    };
  }
}
