import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { silentLogger, systemRuntime } from '@inmesh/core';
import {
  type Certificate,
  checkLeaf,
  constrainedAnchors,
  createStaticIdentity,
  type IdentitySnapshot,
  parseCertificate,
} from '@inmesh/identity';
import { createTestCa } from '@inmesh/identity/testing';
import fc from 'fast-check';
import { promise, refusable, type Target, target } from './target.js';
import { spoiled, spoiledBytes } from './texts.js';

const pieces = [
  '-----BEGIN CERTIFICATE-----\n',
  '-----END CERTIFICATE-----\n',
  '-----BEGIN PRIVATE KEY-----\n',
  '-----END PRIVATE KEY-----\n',
  '-----BEGIN ENCRYPTED PRIVATE KEY-----\n',
  '-----BEGIN TRUSTED CERTIFICATE-----\n',
  '-----',
  '\n',
  '\r\n',
  '=',
  'AAAA',
  '\0',
  '\uFEFF',
];

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replaceAll(/-----[^-]*-----|\s/g, ''), 'base64');
}

function pemOf(label: string, der: Buffer): string {
  const lines = der.toString('base64').replaceAll(/(.{64})(?=.)/g, '$1\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

/** How many certificates begin in a text. */
function begun(pem: string): number {
  return pem.split('-----BEGIN CERTIFICATE-----').length - 1;
}

/** As OpenSSL reads it; `undefined` if it refuses. */
function opensslOf(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

/** The key of a certificate, whatever the form of its point: RFC 5480 §2.2 has two, OpenSSL reads a third. */
function publicKeyOf(der: Buffer): KeyObject | undefined {
  try {
    return opensslOf(der)?.publicKey;
  } catch {
    return undefined;
  }
}

/** Two readers of one certificate must not see two: OpenSSL verifies it, and we decide who it names. */
function checkLikeOpenssl(found: Certificate): void {
  const other = opensslOf(found.der);
  if (other === undefined) return;
  promise(other.raw.equals(found.der), 'OpenSSL reads all of it');
  // A negative one is written with a sign there and as its octets here; both are for people.
  if (!other.serialNumber.startsWith('-'))
    promise(
      BigInt(`0x${other.serialNumber}`) === BigInt(`0x${found.serial}`),
      'the serial number is the same',
    );
  promise(Date.parse(other.validFrom) === found.notBeforeMs, 'the start is the same');
  promise(Date.parse(other.validTo) === found.notAfterMs, 'the end is the same');
  const id = refusable(() => checkLeaf(found));
  if (id === undefined) return;
  promise(!other.ca, 'a leaf is no CA');
  promise(other.subjectAltName?.split(', ').includes(`URI:${id.uri}`) === true, 'the name is the same');
}

function checkCertificate(bytes: Buffer): void {
  const found = refusable(() => parseCertificate(bytes));
  if (found === undefined) return;
  promise(found.der.equals(bytes), 'all of it was read');
  promise(Number.isFinite(found.notAfterMs - found.notBeforeMs), 'its times are times');
  const id = refusable(() => checkLeaf(found));
  promise(id === undefined || (!found.isCa && found.uris[0] === id.uri), 'an identity is its one URI');
  checkLikeOpenssl(found);
}

/** Name constraints, critical. RFC 5280 §4.2.1.10. */
const criticalConstraints = Buffer.from('0603551d1e0101ff', 'hex');

/** A leaf and the CA that signed it, DER. */
interface Signed {
  readonly trustDomain: string;
  readonly leaf: Buffer;
  readonly root: Buffer;
}

/** Three texts of PEM. */
interface Texts {
  readonly certPem: string;
  readonly keyPem: string;
  readonly bundlePem: string;
}

function load(trustDomain: string, { certPem, keyPem, bundlePem }: Texts): IdentitySnapshot | undefined {
  return refusable(() => {
    const bundles = new Map([[trustDomain, bundlePem]]);
    const source = createStaticIdentity({
      certPem,
      keyPem,
      bundles,
      runtime: systemRuntime,
      logger: silentLogger,
    });
    void source.close();
    return source.current();
  });
}

/** Whatever was loaded: it is the leaf that the CA signed, with its own key, below the CA's own key. */
function checkLoaded(ca: Signed, texts: Texts): void {
  const snapshot = load(ca.trustDomain, texts);
  if (snapshot === undefined) return;
  const { svid, bundles } = snapshot;
  promise(svid.chain[0]?.equals(ca.leaf) === true, 'nothing but what the CA signed is an identity');
  const key = createPublicKey(createPrivateKey(svid.keyPem()));
  promise(key.equals(new X509Certificate(ca.leaf).publicKey), 'the key is its own');
  const authorities = bundles.get(ca.trustDomain)?.authorities ?? [];
  promise(svid.chain.length === begun(texts.certPem), 'no certificate of the chain is left out');
  promise(authorities.length === begun(texts.bundlePem), 'no authority is left out');
  const own = new X509Certificate(ca.root).publicKey;
  promise(
    authorities.some((der) => publicKeyOf(der)?.equals(own) === true),
    'the CA is in the bundle',
  );
  promise(
    authorities.every((der) => parseCertificate(der).isCa),
    'an authority is a CA',
  );
}

function checkAnchors(authorities: readonly Buffer[]): void {
  const wallMs = systemRuntime.wallMs();
  const store = refusable(() => constrainedAnchors([{ trustDomain: 'dev.local', authorities }], wallMs));
  if (store === undefined) return;
  const keys = new Set(authorities.map((der) => parseCertificate(der).spki.toString('hex')));
  const [anchor, ...crosses] = store.map(derOf);
  const own = opensslOf(anchor ?? Buffer.alloc(0));
  if (own === undefined) throw new Error('OpenSSL refuses the anchor');
  promise(own.ca && own.verify(own.publicKey), 'there is an anchor');
  promise(crosses.length >= keys.size && crosses.length <= authorities.length, 'each authority is in it');
  for (const cross of crosses) {
    promise(cross.includes(criticalConstraints), 'each is bound to names');
    // Subject and key are copied as they are; where OpenSSL refuses them, nobody is verified by them.
    promise(opensslOf(cross)?.verify(own.publicKey) !== false, 'the anchor signed it');
  }
}

/** What proves an identity. */
export async function pemTargets(): Promise<readonly Target[]> {
  const ca = await createTestCa('dev.local');
  const { trustDomain, bundlePem } = ca;
  const stranger = (await createTestCa('dev.local')).bundlePem;
  const { certPem, keyPem } = await ca.issue('/ns/default/sa/web');
  const [leaf, root] = [derOf(certPem), derOf(bundlePem)];
  const roots = spoiledBytes(root, derOf(stranger));
  const check = (texts: Partial<Texts>): void =>
    checkLoaded({ trustDomain, leaf, root }, { certPem, keyPem, bundlePem, ...texts });
  const noise = fc.uint8Array().map((bytes) => Buffer.from(bytes));
  return [
    target('certificate', fc.oneof(spoiledBytes(leaf, root), noise), checkCertificate),
    target('pem certificate', spoiled(pieces, certPem, certPem + bundlePem), (text) =>
      check({ certPem: text }),
    ),
    target('pem bundle', spoiled(pieces, bundlePem, stranger + bundlePem), (text) =>
      check({ bundlePem: text }),
    ),
    target('pem key', spoiled(pieces, keyPem, certPem + keyPem), (text) => check({ keyPem: text })),
    target('der key', spoiledBytes(derOf(keyPem)), (key) => check({ keyPem: pemOf('PRIVATE KEY', key) })),
    target('der chain', fc.tuple(spoiledBytes(leaf), spoiledBytes(root)), ([one, two]) =>
      check({ certPem: pemOf('CERTIFICATE', one) + pemOf('CERTIFICATE', two) }),
    ),
    target('der bundle', fc.tuple(spoiledBytes(root), roots), ([one, two]) =>
      check({ bundlePem: pemOf('CERTIFICATE', one) + pemOf('CERTIFICATE', two) }),
    ),
    target('anchors', fc.array(roots, { maxLength: 3 }), checkAnchors),
  ];
}
