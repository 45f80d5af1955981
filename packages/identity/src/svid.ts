import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { MeshError } from '@inmesh/core';
import { checkLeaf, parseCertificate } from './certificate.js';
import type { TrustBundle, X509Svid } from './identity.js';
import { certificatesOfPem, pemOfCertificate } from './pem.js';

const maxChain = 8;
const maxAuthorities = 64;

function invalid(message: string, cause?: unknown): MeshError {
  return new MeshError('INMESH_ERR_CERTIFICATE_INVALID', message, { cause });
}

function readKey(keyPem: string): KeyObject {
  try {
    return createPrivateKey(keyPem);
  } catch (error) {
    throw invalid('the private key is not a PEM key that can be read without a passphrase', error);
  }
}

/** As OpenSSL reads it, which is stricter than we are about names, keys and extensions. */
function readX509(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (error) {
    throw invalid('OpenSSL cannot read a certificate', error);
  }
}

/** Whether one certificate is signed by another; by one whose key cannot be used, none is. */
function isIssuer(issuer: X509Certificate, subject: X509Certificate): boolean {
  try {
    return subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

/**
 * Makes an {@link X509Svid} of PEM texts and checks it against the leaf rules and its key.
 *
 * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID` naming what does not fit.
 */
export function loadSvid(certPem: string, keyPem: string): X509Svid {
  const chain = certificatesOfPem(certPem);
  const [leafDer] = chain;
  if (leafDer === undefined) throw invalid('there is no certificate in the PEM text');
  if (chain.length > maxChain)
    throw invalid(`the chain has ${chain.length} certificates, at most ${maxChain} are allowed`);
  const leaf = parseCertificate(leafDer);
  const id = checkLeaf(leaf);
  const key = readKey(keyPem);
  if (!readX509(leafDer).checkPrivateKey(key))
    throw invalid(`the private key does not belong to the certificate of ${id.uri}`);
  const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return Object.freeze({
    id,
    chain: Object.freeze(chain),
    certPem: chain.map(pemOfCertificate).join(''),
    notBeforeMs: leaf.notBeforeMs,
    notAfterMs: leaf.notAfterMs,
    serial: leaf.serial,
    fingerprint: createHash('sha256').update(leafDer).digest('hex'),
    keyPem: () => pem,
  });
}

/**
 * Makes a {@link TrustBundle} of the certificates in a PEM text.
 *
 * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID` if one is malformed or no CA, or there are none or too many.
 */
export function loadBundle(trustDomain: string, pem: string): TrustBundle {
  const authorities = certificatesOfPem(pem);
  if (authorities.length === 0) throw invalid(`the trust bundle of ${trustDomain} has no certificate`);
  if (authorities.length > maxAuthorities) {
    throw invalid(
      `the trust bundle of ${trustDomain} has ${authorities.length} authorities, at most ${maxAuthorities} are allowed`,
    );
  }
  for (const der of authorities) {
    if (!parseCertificate(der).isCa)
      throw invalid(`the trust bundle of ${trustDomain} holds a certificate that is no CA`);
  }
  return Object.freeze({ trustDomain, authorities: Object.freeze(authorities) });
}

/**
 * Checks that an SVID is in force and that its chain ends at its own trust bundle, so that a wrong triple is found
 * where it is loaded and not by every peer.
 *
 * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID` naming what does not fit.
 */
export function checkOwnSvid(
  svid: X509Svid,
  bundles: ReadonlyMap<string, TrustBundle>,
  wallMs: number,
): void {
  if (wallMs >= svid.notAfterMs)
    throw invalid(`the certificate of ${svid.id.uri} expired at ${new Date(svid.notAfterMs).toISOString()}`);
  if (wallMs < svid.notBeforeMs)
    throw invalid(
      `the certificate of ${svid.id.uri} is not valid before ${new Date(svid.notBeforeMs).toISOString()}`,
    );
  const bundle = bundles.get(svid.id.trustDomain);
  if (bundle === undefined)
    throw invalid(`there is no trust bundle for ${svid.id.trustDomain}, the trust domain of ${svid.id.uri}`);
  const roots = bundle.authorities.map(readX509);
  const [first, ...intermediates] = svid.chain.map(readX509);
  for (let current = first, steps = 0; current !== undefined && steps < maxChain; steps++) {
    const subject: X509Certificate = current;
    if (roots.some((root) => isIssuer(root, subject))) return;
    current = intermediates.find((candidate) => candidate !== subject && isIssuer(candidate, subject));
  }
  throw invalid(`the certificate of ${svid.id.uri} was not issued by an authority of its trust bundle`);
}
