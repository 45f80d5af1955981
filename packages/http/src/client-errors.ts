import { isMeshError, MeshError } from '@inmesh/core';
import type { EndpointState } from '@inmesh/resilience';

/** Codes of a connection that broke under a request. */
const lost: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE', 'ECONNABORTED']);

const badReplies: ReadonlySet<string> = new Set([
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_HEADERS_OVERFLOW',
]);

/** Whether a reply is not HTTP/1.1, or breaks its rules. */
function isBadReply(error: Error, code: string): boolean {
  return error.name === 'HTTPParserError' || badReplies.has(code);
}

function codeOf(error: unknown): string {
  return error instanceof Error ? String((error as NodeJS.ErrnoException).code ?? '') : '';
}

/**
 * Says what happened to an attempt.
 *
 * @param isSent - Whether bytes of it may have left.
 */
export function translateError(
  error: Error,
  { key }: EndpointState,
  { cluster }: { readonly cluster: string },
  isSent: boolean,
): MeshError {
  if (isMeshError(error)) return error;
  const code = codeOf(error);
  const options = { cause: error, details: { cluster, endpoint: key }, stackless: true } as const;
  if (code.startsWith('ERR_SSL_') || codeOf(error.cause).startsWith('ERR_SSL_')) {
    // In TLS 1.3 a server refuses a client certificate after the client believes the handshake done: no handler ran.
    return new MeshError(
      'INMESH_ERR_PEER_REFUSED',
      `${cluster} at ${key} refused our certificate: ${error.message}`,
      { ...options, ...(isSent ? { reached: 'maybe' } : { retry: 'elsewhere' }) },
    );
  }
  // undici asserts what it does not check, such as a status below 100.
  if (isBadReply(error, code) || (isSent && code === 'ERR_ASSERTION'))
    return new MeshError(
      'INMESH_ERR_BAD_REPLY',
      `${cluster} at ${key} did not answer in HTTP/1.1: ${error.message}`,
      options,
    );
  if (lost.has(code) || code === 'UND_ERR_BODY_TIMEOUT') {
    return new MeshError(
      'INMESH_ERR_CONNECTION_LOST',
      `the connection to ${cluster} at ${key} broke: ${error.message}`,
      {
        ...options,
        ...(isSent ? {} : { reached: 'no', retry: 'elsewhere' }),
      },
    );
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT')
    return new MeshError(
      'INMESH_ERR_ATTEMPT_TIMEOUT',
      `${cluster} at ${key} did not answer within the headersTimeout of the request`,
      options,
    );
  // The caller's own: its abort, or a request that undici refuses to write.
  return new MeshError('INMESH_ERR_CANCELLED', `the call to ${cluster} ended: ${error.message}`, {
    ...options,
    reached: isSent ? 'maybe' : 'no',
  });
}
