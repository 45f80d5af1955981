import type { Metadata } from '@grpc/grpc-js';
import type { ConnectionFacts } from '@inmesh/core';
import type { ConnectionUse } from './reconnect-pause.js';

/** Whom an attempt goes to. */
export interface AttemptPeer {
  /** What is known of the connection. */
  readonly facts: ConnectionFacts | undefined;
  /** Says in the metadata of a call who we are, unless the peer knows. @returns whether it did */
  introduce(metadata: Metadata): boolean;
  /** Takes who the peer is out of the metadata of its reply. */
  hear(metadata: Metadata): void;
  /** An attempt takes a stream of the connection. */
  onStart(): ConnectionUse;
  /** A head came, or a status alone. */
  onAnswer(use: ConnectionUse): void;
  /** That stream ended. */
  onEnd(use: ConnectionUse): void;
  /** The time of an attempt ended before the peer said anything of it. */
  onSilence(): void;
}
