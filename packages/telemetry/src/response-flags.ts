import type { CallEnd, MeshErrorCode, Side } from '@inmesh/core';

/** Short flags of Envoy for what ended a call of ours. */
export type ErrorFlag = 'DC' | 'DPE' | 'DT' | 'LR' | 'NR' | 'UC' | 'UF' | 'UH' | 'UO' | 'UPE' | 'UT';

/** What a call of ours can end with, as Envoy writes it: `URX` stands behind another flag, or alone. */
export type ResponseFlag = '-' | ErrorFlag | 'URX' | `${ErrorFlag},URX`;

const flags: Partial<Readonly<Record<MeshErrorCode, ErrorFlag>>> = {
  INMESH_ERR_ATTEMPT_TIMEOUT: 'UT',
  INMESH_ERR_BAD_REPLY: 'UPE',
  INMESH_ERR_CANCELLED: 'DC',
  INMESH_ERR_CLOSED: 'LR',
  INMESH_ERR_CONNECTION_LOST: 'UC',
  INMESH_ERR_CONNECT_FAILED: 'UF',
  INMESH_ERR_CONNECT_TIMEOUT: 'UF',
  INMESH_ERR_DEADLINE_EXCEEDED: 'UT',
  INMESH_ERR_HEAD_TIMEOUT: 'UT',
  INMESH_ERR_HTTP_BAD_REQUEST: 'DPE',
  INMESH_ERR_IDENTITY_GONE: 'UF',
  INMESH_ERR_NO_ENDPOINT: 'UH',
  INMESH_ERR_NO_ROUTE: 'NR',
  INMESH_ERR_OVERFLOW: 'UO',
  INMESH_ERR_PEER_IDENTITY: 'UF',
  INMESH_ERR_PEER_REFUSED: 'UF',
};

/**
 * The flags of a call that has ended; `-` where it ended as calls do, a denial by policy included. `URX`: what ended it
 * would have been sent again if its route allowed more attempts.
 *
 * @see {@link https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage | Envoy, RESPONSE_FLAGS}
 */
export function responseFlag(
  side: Side,
  { error, isRetryLimitReached }: Pick<CallEnd, 'error' | 'isRetryLimitReached'>,
): ResponseFlag {
  const flag = error === undefined ? '-' : codeFlag(side, error.code);
  if (isRetryLimitReached !== true) return flag;
  return flag === '-' ? 'URX' : `${flag},URX`;
}

/** The flag of what ended with an error. */
export function codeFlag(side: Side, code: MeshErrorCode): ErrorFlag | '-' {
  // On the server our own time is over, not that of somebody upstream.
  if (side === 'server' && code === 'INMESH_ERR_DEADLINE_EXCEEDED') return 'DT';
  return flags[code] ?? '-';
}
