import { MeshError, parseSpiffeId, type SpiffeId } from '@inmesh/core';
import {
  DerReader,
  readBoolean,
  readInteger,
  readNamedBits,
  readOid,
  readSmallInteger,
  readTime,
} from './der.js';

/** The key usages that matter to an SVID. RFC 5280 §4.2.1.3. */
export interface KeyUsage {
  /** Whether the extension is critical. */
  readonly isCritical: boolean;
  /** May sign handshakes. */
  readonly digitalSignature: boolean;
  /** May sign certificates. */
  readonly keyCertSign: boolean;
  /** May sign revocation lists. */
  readonly crlSign: boolean;
}

/** What we read of a certificate. */
export interface Certificate {
  /** All of it. */
  readonly der: Buffer;
  /** Serial number, lower-case hex without leading zeros. */
  readonly serial: string;
  /** Object identifier of the algorithm that it is signed with. */
  readonly signatureAlgorithm: string;
  /** Subject, DER. */
  readonly subject: Buffer;
  /** Issuer, DER. */
  readonly issuer: Buffer;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
  /** Start of validity, wall clock in milliseconds. */
  readonly notBeforeMs: number;
  /** End of validity, wall clock in milliseconds. */
  readonly notAfterMs: number;
  /** Every URI SAN, as text. */
  readonly uris: readonly string[];
  /** Whether basic constraints say cA. */
  readonly isCa: boolean;
  /** Path length of basic constraints. */
  readonly pathLength: number | undefined;
  /** Key usage; `undefined` without the extension. */
  readonly keyUsage: KeyUsage | undefined;
  /** Extended key usages; `undefined` without the extension. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** Content of the subject key identifier extension (an OCTET STRING). */
  readonly subjectKeyId: Buffer | undefined;
}

interface Extension {
  readonly isCritical: boolean;
  readonly value: Buffer;
}

function broken(rule: string): MeshError {
  return new MeshError('INMESH_ERR_CERTIFICATE_INVALID', `certificate refused: ${rule}`);
}

function readExtensions(reader: DerReader): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  while (reader.peek() !== -1) {
    const one = reader.enter(0x30);
    const id = readOid(one.next(0x06));
    let isCritical = false;
    if (one.peek() === 0x01) {
      isCritical = readBoolean(one.next(0x01));
      if (!isCritical) throw broken('an extension encodes its default (DER)');
    }
    const { content } = one.next(0x04);
    one.finish();
    if (extensions.has(id)) throw broken(`extension ${id} appears twice`);
    extensions.set(id, { isCritical, value: content });
  }
  return extensions;
}

/** Tags of GeneralName, RFC 5280 §4.2.1.6. OpenSSL also takes a constructed string, such as 0xa6, for a URI. */
const generalNames = new Set([0xa0, 0x81, 0x82, 0xa3, 0xa4, 0xa5, 0x86, 0x87, 0x88]);

function readUris(extension: Extension | undefined): string[] {
  const uris: string[] = [];
  if (extension === undefined) return uris;
  const outer = new DerReader(extension.value);
  const names = outer.enter(0x30);
  outer.finish();
  while (names.peek() !== -1) {
    const name = names.next();
    if (!generalNames.has(name.tag)) throw broken(`a SAN has the tag 0x${name.tag.toString(16)}`);
    if (name.tag !== 0x86) continue;
    // A NUL or a blank inside would read differently elsewhere (CVE-2021-44531 family).
    for (const octet of name.content)
      if (octet < 0x21 || octet > 0x7e) throw broken('a URI SAN has a byte outside 0x21-0x7e');
    uris.push(name.content.toString('latin1'));
  }
  return uris;
}

function readBasicConstraints(extension: Extension | undefined): {
  isCa: boolean;
  pathLength: number | undefined;
} {
  if (extension === undefined) return { isCa: false, pathLength: undefined };
  const outer = new DerReader(extension.value);
  const inner = outer.enter(0x30);
  outer.finish();
  const isCa = inner.peek() === 0x01;
  if (isCa && !readBoolean(inner.next(0x01))) throw broken('basic constraints encode their default (DER)');
  const pathLength = inner.peek() === 0x02 ? readSmallInteger(inner.next(0x02)) : undefined;
  inner.finish();
  if (!isCa && pathLength !== undefined) throw broken('only a CA has a path length');
  return { isCa, pathLength };
}

function readKeyUsage(extension: Extension | undefined): KeyUsage | undefined {
  if (extension === undefined) return undefined;
  const outer = new DerReader(extension.value);
  const bits = readNamedBits(outer.next(0x03));
  outer.finish();
  const [flags = 0] = bits;
  if (bits.length > 2) throw broken('key usage has too many bits');
  return {
    isCritical: extension.isCritical,
    digitalSignature: (flags & 0x80) !== 0,
    keyCertSign: (flags & 0x04) !== 0,
    crlSign: (flags & 0x02) !== 0,
  };
}

function readExtendedKeyUsage(extension: Extension | undefined): string[] | undefined {
  if (extension === undefined) return undefined;
  const outer = new DerReader(extension.value);
  const list = outer.enter(0x30);
  outer.finish();
  const usages: string[] = [];
  while (list.peek() !== -1) usages.push(readOid(list.next(0x06)));
  return usages;
}

function readVersion(tbs: DerReader): number {
  if (tbs.peek() !== 0xa0) return 0;
  const wrapper = tbs.enter(0xa0);
  const version = readSmallInteger(wrapper.next(0x02));
  wrapper.finish();
  return version;
}

/**
 * Reads an X.509 v3 certificate strictly. Signatures are OpenSSL's business: it has verified them before, in the
 * handshake.
 *
 * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID` for anything that is not strict DER or not v3.
 */
export function parseCertificate(der: Buffer): Certificate {
  const whole = new DerReader(der);
  const outer = whole.enter(0x30);
  whole.finish();
  const tbs = outer.enter(0x30);
  const algorithm = outer.next(0x30);
  // Bits that are said to be unused could be anything: one certificate, many fingerprints.
  if (outer.next(0x03).content[0] !== 0) throw broken('its signature is not of whole octets');
  outer.finish();
  if (readVersion(tbs) !== 2) throw broken('it is not X.509 v3');
  const serial = readInteger(tbs.next(0x02))
    .toString('hex')
    .replace(/^0+(?=.)/, '');
  if (!tbs.next(0x30).full.equals(algorithm.full)) throw broken('its two signature algorithms differ');
  const issuer = tbs.next(0x30).full;
  const validity = tbs.enter(0x30);
  const notBeforeMs = readTime(validity.next());
  const notAfterMs = readTime(validity.next());
  validity.finish();
  const subject = tbs.next(0x30).full;
  const spki = tbs.next(0x30).full;
  if (tbs.peek() === 0x81) tbs.next(0x81);
  if (tbs.peek() === 0x82) tbs.next(0x82);
  let extensions = new Map<string, Extension>();
  if (tbs.peek() === 0xa3) {
    const wrapper = tbs.enter(0xa3);
    extensions = readExtensions(wrapper.enter(0x30));
    wrapper.finish();
  }
  tbs.finish();
  return {
    der,
    serial,
    signatureAlgorithm: readOid(new DerReader(algorithm.content).next(0x06)),
    subject,
    issuer,
    spki,
    notBeforeMs,
    notAfterMs,
    uris: readUris(extensions.get('2.5.29.17')),
    ...readBasicConstraints(extensions.get('2.5.29.19')),
    keyUsage: readKeyUsage(extensions.get('2.5.29.15')),
    extendedKeyUsage: readExtendedKeyUsage(extensions.get('2.5.29.37')),
    subjectKeyId: extensions.get('2.5.29.14')?.value,
  };
}

/** MD5 and SHA-1 with RSA, SHA-1 with RSA under its old name, with DSA, with ECDSA: others can be made to match. */
const brokenSignatures = new Set([
  '1.2.840.113549.1.1.4',
  '1.2.840.113549.1.1.5',
  '1.3.14.3.2.29',
  '1.2.840.10040.4.3',
  '1.2.840.10045.4.1',
]);

const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';

/**
 * Applies the rules for a leaf and returns its identity: exactly one URI SAN that is a SPIFFE ID with a path, not
 * a CA, critical key usage with digitalSignature and without keyCertSign and cRLSign, and where there is an
 * extended key usage, both serverAuth and clientAuth. X509-SVID §2, §4, §5.2. And not signed with MD5 or SHA-1, which
 * OpenSSL refuses on Node 20 only.
 *
 * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID` naming the rule.
 */
export function checkLeaf(certificate: Certificate): SpiffeId {
  const [uri, ...others] = certificate.uris;
  if (uri === undefined || others.length > 0) {
    throw broken(`an SVID has exactly one URI SAN, this has ${certificate.uris.length}`);
  }
  let id: SpiffeId;
  try {
    id = parseSpiffeId(uri);
  } catch (error) {
    throw new MeshError(
      'INMESH_ERR_CERTIFICATE_INVALID',
      `certificate refused: its URI SAN is no SPIFFE ID: ${(error as Error).message}`,
      { cause: error },
    );
  }
  if (brokenSignatures.has(certificate.signatureAlgorithm)) throw broken('it is signed with MD5 or SHA-1');
  if (id.path === '') throw broken('a leaf needs a SPIFFE ID with a path');
  if (certificate.isCa) throw broken('a leaf must not be a CA');
  const usage = certificate.keyUsage;
  if (usage === undefined) throw broken('key usage is missing');
  if (!usage.isCritical) throw broken('key usage is not critical');
  if (!usage.digitalSignature) throw broken('key usage lacks digitalSignature');
  if (usage.keyCertSign || usage.crlSign)
    throw broken('a leaf must not sign certificates or revocation lists');
  const extended = certificate.extendedKeyUsage;
  if (extended !== undefined && !(extended.includes(serverAuth) && extended.includes(clientAuth))) {
    throw broken('extended key usage needs both serverAuth and clientAuth');
  }
  return id;
}
