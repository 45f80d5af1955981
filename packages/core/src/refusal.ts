import type { CallEnd, Protocol, RefusedCall } from './call.js';
import { MeshError } from './errors.js';
import type { ConnectionFacts } from './peer.js';
import { statusFromHttp } from './status.js';

/** What is told of a request that layers never saw. */
export interface Refusal {
  /** What it spoke. */
  readonly protocol: Protocol;
  /** The connection it came on. */
  readonly connection: ConnectionFacts;
  /** What it was answered with; 503 also where its stream was refused, which has no status. */
  readonly httpStatus: number;
  /** What is wrong with it; `undefined` if nothing is, and only its connection must not be used. */
  readonly fault: string | undefined;
  /** When, on the monotonic clock, in milliseconds. */
  readonly nowMs: number;
}

/** Tells `listener` of an inbound request that was refused before layers saw it. */
export function tellRefused(
  listener: ((call: RefusedCall, end: CallEnd) => void) | undefined,
  { protocol, connection, httpStatus, fault, nowMs }: Refusal,
): void {
  listener?.(
    {
      side: 'server',
      protocol,
      facts: { method: '', path: '', authority: '', connection },
      connection,
      cluster: undefined,
      messages: undefined,
      startedMs: nowMs,
    },
    {
      status: statusFromHttp(httpStatus),
      httpStatus,
      error:
        fault === undefined
          ? undefined
          : new MeshError('INMESH_ERR_HTTP_BAD_REQUEST', fault, { stackless: true }),
      isLocalReply: true,
      requestBytes: 0,
      responseBytes: 0,
    },
  );
}
