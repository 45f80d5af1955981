import { isMeshError, MeshError } from '@inmesh/core';

/** Codes of a connection that broke under a request. */
const lost = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE', 'ECONNABORTED']);

/** Says what happened to a call; errors of the caller's own making, such as its abort, stay as they are. */
export function translateError(error: Error, cluster: string, address: string): Error {
  if (isMeshError(error)) return error;
  const code = String((error as NodeJS.ErrnoException).code ?? '');
  const cause = error.cause instanceof Error ? String((error.cause as NodeJS.ErrnoException).code ?? '') : '';
  if (code.startsWith('ERR_SSL_') || cause.startsWith('ERR_SSL_')) {
    // In TLS 1.3 a server refuses a client certificate after the client believes the handshake done: no handler ran.
    return new MeshError(
      'INMESH_ERR_PEER_REFUSED',
      `${cluster} at ${address} refused our certificate: ${error.message}`,
      { cause: error, details: { cluster, address } },
    );
  }
  if (!lost.has(code)) return error;
  return new MeshError(
    'INMESH_ERR_CONNECTION_LOST',
    `the connection to ${cluster} at ${address} broke: ${error.message}`,
    { cause: error, details: { cluster, address } },
  );
}
