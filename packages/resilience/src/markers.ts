import type { AttemptReply } from '@inmesh/core';

/**
 * What a reply says about trying again. Hop by hop: believed only from an authenticated peer, and never passed on to
 * an application, which could relay it: a relayed "not processed" makes one payment three.
 */
export interface ReplyMarks {
  /** The peer vouches that no handler saw the call. */
  readonly isNotProcessed: boolean;
  /** The peer asks not to try again. */
  readonly forbidsRetry: boolean;
}

/** Set by our servers: no handler ran. */
export const nackHeader = 'x-inmesh-nack';
/** Set by our servers: retries were spent already, or would make it worse. */
export const noRetryHeader = 'x-inmesh-no-retry';

/** Every marker, for stripping. Ours and Finagle's. */
export const markerHeaders: readonly string[] = Object.freeze([
  nackHeader,
  noRetryHeader,
  'finagle-http-nack',
  'finagle-http-nonretryable-nack',
]);

/** Lowest HTTP status that markers are looked for under. */
export const markedFrom = 429;

const none: ReplyMarks = Object.freeze({ isNotProcessed: false, forbidsRetry: false });
const notProcessed: ReplyMarks = Object.freeze({ isNotProcessed: true, forbidsRetry: false });
const noRetry: ReplyMarks = Object.freeze({ isNotProcessed: false, forbidsRetry: true });

/**
 * Reads the markers of a reply.
 *
 * @param isTrusted - Whether the peer proved an identity that we expected.
 * @see {@link https://twitter.github.io/finagle/guide/Glossary.html | Finagle, nacks}
 */
export function marksOf(reply: AttemptReply, isTrusted: boolean): ReplyMarks {
  if (!isTrusted || reply.httpStatus < markedFrom) return none;
  if (
    reply.header(noRetryHeader) !== undefined ||
    reply.header('finagle-http-nonretryable-nack') !== undefined
  )
    return noRetry;
  const isNack =
    reply.httpStatus === 503 &&
    (reply.header(nackHeader) !== undefined || reply.header('finagle-http-nack') !== undefined);
  return isNack ? notProcessed : none;
}
