import type { Call, ConnectionFacts, SpiffeId, Workload } from '@inmesh/core';
import { type CalledService, type Edge, ownParty, type Party, peerParty } from './request-labels.js';

/** What {@link Edges} needs. */
export interface EdgesOptions {
  /** Who we are. */
  readonly workload: Workload;
  /** Our own SPIFFE ID. */
  readonly principal: () => string;
  /** Identities that the endpoints of a cluster must prove. */
  readonly identitiesOf: (cluster: string) => readonly Pick<SpiffeId, 'uri'>[];
}

/** A call, as far as it tells who calls whom. */
export type EdgeCall = Pick<Call, 'cluster' | 'connection' | 'side'>;

function partyOf({ peer, introduction }: ConnectionFacts): Party {
  return peerParty(peer?.id.uri, introduction?.metadata);
}

/** Tells who calls whom: from what TLS proved, what peers say of themselves, and what is configured. */
export class Edges {
  readonly #options: EdgesOptions;

  /** @param options - Who we are and whom we call. */
  constructor(options: EdgesOptions) {
    this.#options = options;
  }

  /** The edge of a call. */
  of({ side, connection, cluster = '' }: EdgeCall): Edge {
    return side === 'server' ? this.#inbound(connection) : this.outbound(cluster, connection);
  }

  /**
   * From us to a cluster.
   *
   * @param connection - The one that is used, if there is one already.
   */
  outbound(cluster: string, connection?: ConnectionFacts): Edge {
    return {
      reporter: 'source',
      source: this.#own(),
      destination: connection?.peer === undefined ? this.#expected(cluster) : partyOf(connection),
      service: this.#service(cluster),
    };
  }

  #inbound(connection: ConnectionFacts | undefined): Edge {
    const { service: name, namespace } = this.#options.workload;
    return {
      reporter: 'destination',
      source: connection === undefined ? peerParty(undefined) : partyOf(connection),
      destination: this.#own(),
      service: { name, namespace },
    };
  }

  #own(): Party {
    const { workload, principal } = this.#options;
    return ownParty(workload, principal());
  }

  /** Where one identity alone will do, it is the one that was looked for. */
  #expected(cluster: string): Party {
    const [identity, other] = this.#options.identitiesOf(cluster);
    return peerParty(other === undefined ? identity?.uri : undefined);
  }

  #service(cluster: string): CalledService {
    const [name = '', namespace = this.#options.workload.namespace] = cluster.split('.');
    return { name, namespace };
  }
}
