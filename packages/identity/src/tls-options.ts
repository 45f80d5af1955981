import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { isMeshError, MeshError } from '@inmesh/core';
import { constrainedAnchors } from './anchors.js';
import type { IdentitySnapshot } from './identity.js';

let curves: string | undefined;

/** Node 20 throws on any list that holds the hybrid group, so it is tried once. */
function supportedCurves(): string {
  if (curves === undefined) {
    const hybrid = 'X25519MLKEM768:X25519:P-256';
    try {
      createSecureContext({ ecdhCurve: hybrid });
      curves = hybrid;
    } catch {
      curves = 'X25519:P-256';
    }
  }
  return curves;
}

const optionsOf = new WeakMap<IdentitySnapshot, SecureContextOptions>();
const contextOf = new WeakMap<IdentitySnapshot, SecureContext>();

/**
 * The one place where TLS options are made, for both sides, always all of them: Node falls back to its defaults
 * (TLS 1.2, tickets) for what a new context leaves out. TLS 1.3 only; no session tickets, because a resumed
 * session skips every identity check.
 */
export function secureContextOptions(snapshot: IdentitySnapshot, wallMs: number): SecureContextOptions {
  let options = optionsOf.get(snapshot);
  if (options === undefined) {
    options = Object.freeze({
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
      ecdhCurve: supportedCurves(),
      cert: snapshot.svid.certPem,
      key: snapshot.svid.keyPem(),
      ca: constrainedAnchors(snapshot.bundles.values(), wallMs),
    });
    optionsOf.set(snapshot, options);
  }
  return options;
}

/** The client context of a snapshot, made once: making one costs 3-6 ms on Node 20. */
export function clientContext(snapshot: IdentitySnapshot, wallMs: number): SecureContext {
  let context = contextOf.get(snapshot);
  if (context === undefined) {
    context = createSecureContext(secureContextOptions(snapshot, wallMs));
    contextOf.set(snapshot, context);
  }
  return context;
}

/**
 * Makes the context of a snapshot, which both sides are made of, to see whether OpenSSL takes it: it refuses weak
 * keys and signatures only here, and here is where the last good identity can stay.
 *
 * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID` with OpenSSL's reason.
 */
export function proveContext(snapshot: IdentitySnapshot, wallMs: number): void {
  try {
    clientContext(snapshot, wallMs);
  } catch (error) {
    if (isMeshError(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new MeshError(
      'INMESH_ERR_CERTIFICATE_INVALID',
      `OpenSSL refuses the certificate of ${snapshot.svid.id.uri}: ${reason}`,
      { cause: error },
    );
  }
}
