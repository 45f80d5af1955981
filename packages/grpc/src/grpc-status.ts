import { grpcStatusNumber, type Halt, type StatusCode } from '@inmesh/core';

/** What the caller is told: a status and a message, never why. */
export interface WireStatus {
  /** Canonical status. */
  readonly status: StatusCode;
  /** Its number. */
  readonly code: number;
  /** Message. */
  readonly message: string;
}

const fromHttp: Readonly<Record<number, StatusCode>> = {
  400: 'internal',
  401: 'unauthenticated',
  403: 'permission-denied',
  404: 'unimplemented',
  429: 'unavailable',
  502: 'unavailable',
  503: 'unavailable',
  504: 'unavailable',
};

/** The status that a layer's halt stands for. */
export function statusOfHalt(halt: Halt): WireStatus {
  const { reply } = halt;
  const status =
    reply?.grpcStatus ??
    (halt.kind === 'reject'
      ? halt.error.status
      : reply?.httpStatus === 200
        ? 'ok'
        : (fromHttp[reply?.httpStatus ?? 0] ?? 'unknown'));
  return { status, code: grpcStatusNumber(status), message: reply?.grpcMessage ?? '' };
}

/** Percent-encodes a message for the wire; half a surrogate pair, which has no encoding, is replaced. */
export function encodeMessage(message: string): string {
  return encodeURIComponent(Buffer.from(message).toString())
    .replaceAll('%20', ' ')
    .replaceAll('%3A', ':')
    .replaceAll('%2C', ',');
}
