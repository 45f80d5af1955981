import { MeshError } from '@inmesh/core';

const block = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g;

/** DER of every certificate in `pem`, in order. Empty if there is none. */
export function certificatesOfPem(pem: string): Buffer[] {
  const found: Buffer[] = [];
  for (const match of pem.matchAll(block))
    found.push(Buffer.from((match[1] ?? '').replaceAll(/\s/g, ''), 'base64'));
  const begins = pem.split('-----BEGIN CERTIFICATE-----').length - 1;
  if (begins !== found.length) {
    throw new MeshError(
      'INMESH_ERR_CERTIFICATE_INVALID',
      `malformed PEM: ${begins} certificates begin but ${found.length} can be read`,
    );
  }
  return found;
}

/** PEM of one DER certificate. */
export function pemOfCertificate(der: Buffer): string {
  const lines = der.toString('base64').replaceAll(/(.{64})(?=.)/g, '$1\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}
