/**
 * What a workload says of itself. Nobody vouches for it: it labels metrics, and no decision reads it. What was not said
 * is `undefined`.
 */
export interface PeerMetadata {
  /** Name of the workload, such as a deployment. */
  readonly workload: string | undefined;
  /** Istio's canonical service. */
  readonly canonicalService: string | undefined;
  /** Istio's canonical revision. */
  readonly canonicalRevision: string | undefined;
  /** Namespace; never another one than its identity names. */
  readonly namespace: string | undefined;
  /** Label `app`. */
  readonly app: string | undefined;
  /** Label `version`. */
  readonly version: string | undefined;
  /** Cluster of Kubernetes. */
  readonly cluster: string | undefined;
}

/** What the peer of one connection has said of itself so far. */
export interface Introduction {
  /** The text as it came, so that the same text is read once. */
  text: string;
  /** What it says; `undefined` until something was said that can be believed. */
  metadata: PeerMetadata | undefined;
  /** Whether the peer remembers ours for as long as the connection lives. Proxies of Istio look at each call. */
  isLasting: boolean;
}

/** An introduction of nobody yet. */
export function createIntroduction(): Introduction {
  return { text: '', metadata: undefined, isLasting: false };
}
