import type { SpiffeId } from '@inmesh/core';

/** What policies ask of a peer's SPIFFE ID. */
export interface PeerView {
  /** The ID without `spiffe://`. */
  readonly principal: string;
  /** Its trust domain. */
  readonly trustDomain: string;
  /** Values of `/ns/<value>/` in its path; one in Istio's form. */
  readonly namespaces: readonly string[];
  /** `namespace/account` of its path; one in Istio's form. */
  readonly accounts: readonly string[];
}

const views = new WeakMap<SpiffeId, PeerView>();

function read(id: SpiffeId): PeerView {
  const segments = id.path.split('/');
  const namespaces: string[] = [];
  const accounts: string[] = [];
  const last = segments.length - 1;
  for (let i = 1; i < last - 1; i++) {
    const namespace = segments[i + 1];
    if (segments[i] !== 'ns' || namespace === undefined) continue;
    namespaces.push(namespace);
    if (segments[last - 1] === 'sa' && last - 1 > i + 1)
      accounts.push(`${namespace}/${segments[last] ?? ''}`);
  }
  return { principal: id.uri.slice('spiffe://'.length), trustDomain: id.trustDomain, namespaces, accounts };
}

/** The view of `id`, made once per connection. */
export function peerView(id: SpiffeId): PeerView {
  let view = views.get(id);
  if (view === undefined) {
    view = read(id);
    views.set(id, view);
  }
  return view;
}
