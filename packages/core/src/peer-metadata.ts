import type { ConnectionFacts } from './peer.js';

/** Header in which workloads of Istio tell each other who they are: a protobuf `Struct` in Base64. */
export const peerMetadataHeader = 'x-envoy-peer-metadata';
/** Header with a name for the content of {@link peerMetadataHeader}. */
export const peerMetadataIdHeader = 'x-envoy-peer-metadata-id';

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
