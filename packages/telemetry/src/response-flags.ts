import type { CallEnd, MeshErrorCode, Side } from '@inmesh/core';

/** Short flags of Envoy that a call of ours can end with. */
export type ResponseFlag = '-' | 'DC' | 'DPE' | 'DT' | 'LR' | 'NR' | 'UC' | 'UF' | 'UH' | 'UO' | 'UPE' | 'UT';

const flags: Partial<Readonly<Record<MeshErrorCode, ResponseFlag>>> = {
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
 * The flag of a call that has ended; `-` where it ended as calls do, a denial by policy included.
 *
 * @see {@link https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage | Envoy, RESPONSE_FLAGS}
 */
export function responseFlag(side: Side, { error }: Pick<CallEnd, 'error'>): ResponseFlag {
  return error === undefined ? '-' : codeFlag(side, error.code);
}

/** The flag of what ended with an error. */
export function codeFlag(side: Side, code: MeshErrorCode): ResponseFlag {
  // On the server our own time is over, not that of somebody upstream.
  if (side === 'server' && code === 'INMESH_ERR_DEADLINE_EXCEEDED') return 'DT';
  return flags[code] ?? '-';
}
