import type { PeerMetadata } from '@inmesh/core';
import type { EdgeCall } from './edges.js';

/** Peers, and clusters, of which something is held on to; beyond it all are looked up anew. */
const maxPeers = 4096;

/** What tells peers apart: what they say of themselves, which is one object for each identity, or the identity alone. */
type PeerKey = PeerMetadata | string;
type ByPeer<T> = Map<PeerKey, T>;

function peerKey({ connection }: EdgeCall): PeerKey {
  return connection?.introduction?.metadata ?? connection?.peer?.id.uri ?? '';
}

/** Something for each pair of parties, found without making a text of them. */
export class ByEdge<T> {
  readonly #inbound: ByPeer<T> = new Map();
  readonly #outbound = new Map<string, ByPeer<T>>();
  readonly #create: (call: EdgeCall) => T;

  /** @param create - Makes what is not there. */
  constructor(create: (call: EdgeCall) => T) {
    this.#create = create;
  }

  /** What belongs to the parties of a call. */
  of(call: EdgeCall): T {
    const peers = call.side === 'server' ? this.#inbound : this.#of(call.cluster ?? '');
    const key = peerKey(call);
    let one = peers.get(key);
    if (one === undefined) {
      one = this.#create(call);
      if (peers.size >= maxPeers) peers.clear();
      peers.set(key, one);
    }
    return one;
  }

  /** Makes what belongs to the parties of a call anew. */
  renew(call: EdgeCall): T {
    const peers = call.side === 'server' ? this.#inbound : this.#of(call.cluster ?? '');
    peers.delete(peerKey(call));
    return this.of(call);
  }

  #of(cluster: string): ByPeer<T> {
    let peers = this.#outbound.get(cluster);
    if (peers === undefined) {
      peers = new Map();
      if (this.#outbound.size >= maxPeers) this.#outbound.clear();
      this.#outbound.set(cluster, peers);
    }
    return peers;
  }
}
