import { isMeshError } from '@inmesh/core';

/** How a TLS handshake ended; words of gRFC A118 where it has some. */
export type HandshakeResult =
  | 'CERTIFICATE_EXPIRED'
  | 'CERTIFICATE_HOSTNAME_MISMATCH'
  | 'CERTIFICATE_INVALID'
  | 'HANDSHAKE_TIMEOUT'
  | 'NO_APPLICATION_PROTOCOL'
  | 'OTHER'
  | 'SUCCESS';

/** What of a failure tells what it was, in the order in which it is looked for. */
const signs: readonly (readonly [sign: RegExp, result: HandshakeResult])[] = [
  [/HAS_EXPIRED|NOT_YET_VALID/, 'CERTIFICATE_EXPIRED'],
  [/TIMEOUT/, 'HANDSHAKE_TIMEOUT'],
  [/NO_APPLICATION_PROTOCOL/i, 'NO_APPLICATION_PROTOCOL'],
  [
    /UNABLE_TO_|CERT_|SELF_SIGNED|DEPTH_ZERO|INVALID_|PATH_LENGTH|UNKNOWN_CA|PEER_DID_NOT_RETURN|CERTIFICATE/,
    'CERTIFICATE_INVALID',
  ],
];

/** @param error - Why it failed; `undefined` if it did not. */
export function handshakeResult(error: unknown): HandshakeResult {
  if (error === undefined) return 'SUCCESS';
  // The certificate is good and somebody else's.
  if (isMeshError(error) && error.code === 'INMESH_ERR_PEER_IDENTITY' && 'found' in error.details)
    return 'CERTIFICATE_HOSTNAME_MISMATCH';
  const code = (error as { readonly code?: unknown } | null)?.code;
  const cause = isMeshError(error) ? error.cause : undefined;
  const causeCode = (cause as { readonly code?: unknown } | null | undefined)?.code;
  const text = [code, causeCode, typeof error === 'string' ? error : ''].map(String).join(' ');
  return signs.find(([sign]) => sign.test(text))?.[1] ?? 'OTHER';
}
