import { describe, expect, it } from 'vitest';
import { DerReader, encode, sequence } from '../src/der.js';
import { checkLeaf, parseCertificate } from '../src/index.js';
import { boolean, createForge, type Parts, uri } from './forge.js';

const forge = createForge();
const web = 'spiffe://a.test/ns/default/sa/web';
const raw = (tag: number, ...octets: readonly number[]): Buffer => encode(tag, Buffer.from(octets));
const version = (...content: readonly Buffer[]): Buffer => encode(0xa0, ...content);
const utc = (text: string): Buffer => encode(0x17, Buffer.from(text, 'latin1'));
const end = utc('491231235959Z');

const read = (parts: Parts): string => checkLeaf(parseCertificate(forge.der(parts))).uri;

describe('strict DER of a certificate', () => {
  const accepted: readonly [string, Parts][] = [
    ['no part changed', {}],
    ['a serial number with a needed zero in front', { serial: raw(0x02, 0, 0x80) }],
    ['key usage of two octets', { keyUsage: raw(0x03, 7, 0x80, 0x80) }],
    [
      'a DNS name and an IP address beside the URI',
      { names: sequence(raw(0x82, 97), raw(0x87, 1, 2, 3, 4), uri(web)) },
    ],
  ];
  it.each(accepted)('[row 3] reads a leaf with %s', (_what, parts) => expect(read(parts)).toBe(web));

  const refused: readonly [string, Parts][] = [
    ['bytes after the version', { version: version(raw(0x02, 2), raw(0x05)) }],
    ['a second version', { version: version(raw(0x02, 2), raw(0x02, 2)) }],
    ['an empty version', { version: version() }],
    ['version v1, which is the default', { version: version(raw(0x02, 0)) }],
    ['a padded version', { version: version(raw(0x02, 0, 2)) }],
    ['version v4', { version: version(raw(0x02, 3)) }],
    ['cA FALSE, which is the default', { basicConstraints: sequence(boolean(0)) }],
    ['cA FALSE and a path length', { basicConstraints: sequence(boolean(0), raw(0x02, 0)) }],
    ['a path length without cA', { basicConstraints: sequence(raw(0x02, 0)) }],
    ['cA of 0x01', { basicConstraints: sequence(boolean(1)) }],
    ['cA of two octets', { basicConstraints: sequence(raw(0x01, 0xff, 0xff)) }],
    ['cA of no octet', { basicConstraints: sequence(raw(0x01)) }],
    ['basic constraints with bytes after them', { basicConstraints: Buffer.concat([sequence(), raw(0x05)]) }],
    ['critical FALSE, which is the default', { critical: boolean(0) }],
    ['critical of 0x01', { critical: boolean(1) }],
    ['critical of two octets', { critical: raw(0x01, 0xff, 0xff) }],
    ['key usage with bits set that it says are unused', { keyUsage: raw(0x03, 7, 0xc0) }],
    ['key usage with trailing zero bits', { keyUsage: raw(0x03, 0, 0x80) }],
    ['key usage with a trailing zero octet', { keyUsage: raw(0x03, 7, 0x80, 0) }],
    ['key usage without an octet', { keyUsage: raw(0x03, 0) }],
    ['a padded serial number', { serial: raw(0x02, 0, 1) }],
    ['a serial number padded with ones', { serial: raw(0x02, 0xff, 0x80) }],
    ['an empty serial number', { serial: raw(0x02) }],
    ['a constructed URI, which others may read', { names: sequence(encode(0xa6, uri(web)), uri(web)) }],
    ['a name of an unknown kind', { names: sequence(raw(0x89, 97), uri(web)) }],
    ['a name of a universal tag', { names: sequence(raw(0x16, 97), uri(web)) }],
    ['bytes after the names', { names: Buffer.concat([sequence(uri(web)), raw(0x05)]) }],
    ['second 60', { validity: sequence(utc('250101000060Z'), end) }],
    ['minute 60', { validity: sequence(utc('250101006000Z'), end) }],
    ['31 February', { validity: sequence(utc('250231000000Z'), end) }],
    ['a time zone', { validity: sequence(utc('250101000000+0000'), end) }],
  ];
  it.each(refused)('[row 3] refuses %s', (_what, parts) =>
    expect(() => read(parts)).toThrow(expect.objectContaining({ code: 'INMESH_ERR_CERTIFICATE_INVALID' })),
  );

  it('[row 4] refuses a leaf that is signed with SHA-1, on every line of Node', () =>
    expect(() => read({ hash: 'sha1' })).toThrow(/MD5 or SHA-1/));

  it('[row 3] refuses a signature with bits that it says are unused, which OpenSSL takes for none', () => {
    const der = forge.der({});
    const outer = new DerReader(der).enter(0x30);
    outer.next();
    outer.next();
    const { content } = outer.next(0x03);
    content[0] = 1;
    expect(() => parseCertificate(der)).toThrow(
      expect.objectContaining({ code: 'INMESH_ERR_CERTIFICATE_INVALID' }),
    );
  });
});
