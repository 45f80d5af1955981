import type { ConnectionFacts } from './peer.js';

/** Header in which workloads of Istio tell each other who they are: a protobuf `Struct` in Base64. */
export const peerMetadataHeader = 'x-envoy-peer-metadata';
/** Header with a name for the content of {@link peerMetadataHeader}. */
export const peerMetadataIdHeader = 'x-envoy-peer-metadata-id';

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

/** A header that carries a part of an introduction. */
export type IntroductionLine = readonly [name: string, value: string];

/** Introduces this workload to its peers, and hears what they say. */
export interface Introductions {
  /** Headers by which we introduce ourselves. */
  readonly own: readonly IntroductionLine[];
  /**
   * Notes what the peer of a connection says of itself, if it proved an identity. Whatever it says, this throws nothing.
   *
   * @param id - Value of {@link peerMetadataIdHeader}.
   * @param text - Value of {@link peerMetadataHeader}.
   */
  hear(connection: ConnectionFacts, id: string, text: string): void;
}
