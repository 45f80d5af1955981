import type { Call, SpiffeId, Workload } from '@inmesh/core';
import { type CalledService, type Edge, ownParty, type Party, provenParty } from './request-labels.js';

/** Peers of which series are held on to; beyond it they are looked up anew. */
export const maxPeers = 4096;

/** What {@link Edges} needs. */
export interface EdgesOptions {
  /** Who we are. */
  readonly workload: Workload;
  /** Our own SPIFFE ID. */
  readonly principal: () => string;
  /** Identities that the endpoints of a cluster must prove. */
  readonly identitiesOf: (cluster: string) => readonly Pick<SpiffeId, 'uri'>[];
}

/** Tells who calls whom, from what TLS proved and what is configured. */
export class Edges {
  readonly #options: EdgesOptions;

  /** @param options - Who we are and whom we call. */
  constructor(options: EdgesOptions) {
    this.#options = options;
  }

  /** The edge of a call. */
  of({ side, facts, cluster = '' }: Pick<Call, 'cluster' | 'facts' | 'side'>): Edge {
    return side === 'server' ? this.#inbound(facts.connection.peer?.id.uri) : this.outbound(cluster);
  }

  /** From us to a cluster. */
  outbound(cluster: string): Edge {
    return {
      reporter: 'source',
      source: this.#own(),
      destination: this.#called(cluster),
      service: this.#service(cluster),
    };
  }

  #inbound(peer: string | undefined): Edge {
    const { service: name, namespace } = this.#options.workload;
    return {
      reporter: 'destination',
      source: provenParty(peer),
      destination: this.#own(),
      service: { name, namespace },
    };
  }

  #own(): Party {
    const { workload, principal } = this.#options;
    return ownParty(workload, principal());
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
