import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { encode, integer, oid, sequence, time } from '../src/der.js';
import { pemOfCertificate } from '../src/pem.js';
import type { Minted } from '../src/testing.js';

/** Parts of a certificate, DER; what is left out is as it should be. */
export interface Parts {
  readonly version?: Buffer;
  readonly serial?: Buffer;
  readonly validity?: Buffer;
  readonly hash?: 'sha1' | 'sha256';
  readonly key?: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  /** Content of the extension values. */
  readonly basicConstraints?: Buffer;
  readonly keyUsage?: Buffer;
  readonly names?: Buffer;
  /** The critical flag of the key usage extension. */
  readonly critical?: Buffer;
}

export interface Forge {
  readonly bundlePem: string;
  /** A leaf of `spiffe://a.test/ns/default/sa/web`. */
  issue(parts?: Parts): Minted;
  der(parts?: Parts): Buffer;
}

const isTrue = encode(0x01, Buffer.from([0xff]));
const signatures = { sha1: oid('1.2.840.10045.4.1'), sha256: oid('1.2.840.10045.4.3.2') } as const;
const p256 = (): { publicKey: KeyObject; privateKey: KeyObject } =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' });
export const uri = (text: string): Buffer => encode(0x86, Buffer.from(text, 'latin1'));
export const boolean = (octet: number): Buffer => encode(0x01, Buffer.from([octet]));

function extension(id: string, critical: Buffer, value: Buffer): Buffer {
  return sequence(oid(id), critical, encode(0x04, value));
}

/** Writes certificates octet by octet: also those that no library writes. */
export function createForge(): Forge {
  const authority = p256();
  const authorityName = sequence(encode(0x31, sequence(oid('2.5.4.3'), encode(0x0c, Buffer.from('forge')))));
  const nowMs = performance.timeOrigin + performance.now();
  const period = sequence(time(nowMs - 60_000), time(nowMs + 3_600_000));
  const certificate = (
    subject: Buffer,
    key: KeyObject,
    extensions: readonly Buffer[],
    { version, serial, validity, hash = 'sha256' }: Parts,
  ): Buffer => {
    const algorithm = sequence(signatures[hash]);
    const tbs = sequence(
      version ?? encode(0xa0, integer(Buffer.from([2]))),
      serial ?? integer(createHash('sha256').update(subject).digest().subarray(0, 12)),
      algorithm,
      authorityName,
      validity ?? period,
      subject,
      key.export({ type: 'spki', format: 'der' }),
      encode(0xa3, sequence(...extensions)),
    );
    const signature = sign(hash, tbs, authority.privateKey);
    return sequence(tbs, algorithm, encode(0x03, Buffer.from([0]), signature));
  };
  const root = certificate(
    authorityName,
    authority.publicKey,
    [
      extension('2.5.29.19', isTrue, sequence(isTrue)),
      extension('2.5.29.15', isTrue, encode(0x03, Buffer.from([1, 0x06]))),
    ],
    {},
  );
  const leaf = (parts: Parts, key: KeyObject): Buffer =>
    certificate(
      sequence(),
      key,
      [
        extension('2.5.29.19', isTrue, parts.basicConstraints ?? sequence()),
        extension(
          '2.5.29.15',
          parts.critical ?? isTrue,
          parts.keyUsage ?? encode(0x03, Buffer.from([7, 0x80])),
        ),
        extension('2.5.29.17', isTrue, parts.names ?? sequence(uri('spiffe://a.test/ns/default/sa/web'))),
      ],
      parts,
    );
  return {
    bundlePem: pemOfCertificate(root),
    issue(parts = {}) {
      const { publicKey, privateKey } = parts.key ?? p256();
      return {
        certPem: pemOfCertificate(leaf(parts, publicKey)),
        keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      };
    },
    der: (parts = {}) => leaf(parts, (parts.key ?? p256()).publicKey),
  };
}
