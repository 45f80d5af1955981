import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { type Certificate, parseCertificate } from './certificate.js';
import { encode, integer, oid, sequence, time } from './der.js';
import type { TrustBundle } from './identity.js';
import { pemOfCertificate } from './pem.js';

const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'));
const isTrue = encode(0x01, Buffer.from([0xff]));

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  return isCritical ? sequence(oid(id), isTrue, encode(0x04, value)) : sequence(oid(id), encode(0x04, value));
}

function bits(octet: number, unused: number): Buffer {
  return encode(0x03, Buffer.from([unused, octet]));
}

function signed(key: KeyObject, tbs: Buffer): Buffer {
  return sequence(tbs, ecdsaWithSha256, encode(0x03, Buffer.from([0]), sign('sha256', tbs, key)));
}

function serialNumber(): Buffer {
  const octets = randomBytes(16);
  octets[0] = ((octets[0] ?? 0) & 0x3f) | 0x40;
  return integer(octets);
}

interface Group {
  authority: Certificate;
  readonly trustDomains: string[];
}

/**
 * One group per subject and key: OpenSSL does not try a second issuer of the same name and key, so a root that
 * several trust domains share must get one certificate that permits them all.
 */
function groupAuthorities(bundles: Iterable<TrustBundle>): Group[] {
  const groups = new Map<string, Group>();
  for (const { trustDomain, authorities } of bundles) {
    for (const der of authorities) {
      const authority = parseCertificate(der);
      const key = `${authority.subject.toString('hex')} ${authority.spki.toString('hex')}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { authority, trustDomains: [trustDomain] });
      else {
        if (!group.trustDomains.includes(trustDomain)) group.trustDomains.push(trustDomain);
        if (authority.notAfterMs > group.authority.notAfterMs) group.authority = authority;
      }
    }
  }
  return [...groups.values()];
}

function crossExtensions({ authority, trustDomains }: Group, anchorKeyId: Buffer): Buffer {
  const constraints =
    authority.pathLength === undefined ? [isTrue] : [isTrue, integer(Buffer.from([authority.pathLength]))];
  const mayCrl = authority.keyUsage === undefined || authority.keyUsage.crlSign;
  const permitted = trustDomains.map((name) => sequence(encode(0x86, Buffer.from(name, 'latin1'))));
  const list = [
    extension('2.5.29.19', true, sequence(...constraints)),
    extension('2.5.29.15', true, mayCrl ? bits(0x06, 1) : bits(0x04, 2)),
    extension('2.5.29.30', true, sequence(encode(0xa0, ...permitted))),
    extension('2.5.29.35', false, sequence(encode(0x80, anchorKeyId))),
  ];
  if (authority.subjectKeyId !== undefined) list.push(extension('2.5.29.14', false, authority.subjectKeyId));
  return encode(0xa3, sequence(...list));
}

/**
 * A trust store in which OpenSSL itself binds each trust domain to its own authorities: a throw-away anchor and,
 * for each authority, a cross-certificate under it whose critical name constraint permits only the URI host of
 * its trust domain. The authorities themselves are not in the store, so none can vouch for another's domain.
 * The anchor's key is dropped on return: nobody can extend the store. RFC 5280 §4.2.1.10.
 *
 * @param wallMs - Wall clock now.
 * @returns PEM certificates for the `ca` option; never empty, because an empty list means the public web's roots.
 * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID` if an authority is malformed.
 */
export function constrainedAnchors(bundles: Iterable<TrustBundle>, wallMs: number): string[] {
  const groups = groupAuthorities(bundles);
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = pair.publicKey.export({ type: 'spki', format: 'der' });
  const keyId = createHash('sha256').update(spki).digest().subarray(0, 20);
  const commonName = `inmesh anchor ${randomBytes(8).toString('hex')}`;
  const name = sequence(encode(0x31, sequence(oid('2.5.4.3'), encode(0x0c, Buffer.from(commonName)))));
  const fromMs = Math.min(wallMs - 300_000, ...groups.map((group) => group.authority.notBeforeMs));
  const version = encode(0xa0, integer(Buffer.from([2])));
  const validity = sequence(time(fromMs), time(wallMs + 20 * 365 * 86_400_000));
  const own = encode(
    0xa3,
    sequence(
      extension('2.5.29.19', true, sequence(isTrue)),
      extension('2.5.29.15', true, bits(0x06, 1)),
      extension('2.5.29.14', false, encode(0x04, keyId)),
    ),
  );
  const tbs = sequence(version, serialNumber(), ecdsaWithSha256, name, validity, name, spki, own);
  const store = [pemOfCertificate(signed(pair.privateKey, tbs))];
  for (const group of groups) {
    const { authority } = group;
    const period = sequence(time(authority.notBeforeMs), time(authority.notAfterMs));
    const cross = sequence(
      version,
      serialNumber(),
      ecdsaWithSha256,
      name,
      period,
      authority.subject,
      authority.spki,
      crossExtensions(group, keyId),
    );
    store.push(pemOfCertificate(signed(pair.privateKey, cross)));
  }
  return store;
}
