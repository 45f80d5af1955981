import { X509Certificate } from 'node:crypto';
import { isMeshError } from '@inmesh/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkLeaf, parseCertificate } from '../src/index.js';
import { createTestCa, mint, type TestCa } from '../src/testing.js';

const der = (pem: string): Buffer => new X509Certificate(pem).raw;

/** Parses, and checks that a refusal is ours: anything else would take a process down inside a handshake. */
function attempt(bytes: Buffer): boolean {
  try {
    checkLeaf(parseCertificate(bytes));
    return true;
  } catch (error) {
    if (!isMeshError(error)) throw error;
    expect(['INMESH_ERR_CERTIFICATE_INVALID', 'INMESH_ERR_SPIFFE_ID_INVALID']).toContain(error.code);
    return false;
  }
}

describe('certificate reader', () => {
  let ca: TestCa;
  let good: Buffer;
  beforeAll(async () => {
    ca = await createTestCa('a.test');
    good = der((await ca.issue('/ns/default/sa/web', { dnsNames: ['web', 'localhost'] })).certPem);
  });

  it('reads what OpenSSL reads', async () => {
    const parsed = parseCertificate(good);
    const openssl = new X509Certificate(good);
    expect(parsed.uris).toEqual(['spiffe://a.test/ns/default/sa/web']);
    expect(parsed.serial.padStart(openssl.serialNumber.length, '0')).toBe(openssl.serialNumber.toLowerCase());
    expect(parsed.notAfterMs).toBe(Date.parse(openssl.validTo));
    expect(parsed.notBeforeMs).toBe(Date.parse(openssl.validFrom));
    const root = await mint({
      uris: ['spiffe://a.test'],
      notBeforeMs: 0,
      notAfterMs: 253_000_000_000_000,
      isCa: true,
      commonName: 'far',
    });
    expect(parseCertificate(der(root.certPem))).toMatchObject({
      isCa: true,
      notAfterMs: 253_000_000_000_000,
    });
    expect(attempt(good)).toBe(true);
  });

  it('survives any change of a few bytes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (changes) => {
          const bytes = Buffer.from(good);
          for (const [at, value] of changes) bytes[at] = value;
          attempt(bytes);
        },
      ),
      { numRuns: 5000 },
    );
  });

  it('refuses every truncation and everything trailing', () => {
    for (let length = 0; length < good.length; length++)
      expect(attempt(good.subarray(0, length))).toBe(false);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (tail) => {
        expect(attempt(Buffer.concat([good, tail]))).toBe(false);
      }),
    );
  });

  it('survives any bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(attempt(Buffer.from(bytes))).toBe(false);
      }),
      { numRuns: 3000 },
    );
  });

  it('refuses lengths that are not minimal, and indefinite ones', () => {
    const body = good.subarray(4);
    const length = body.length;
    expect(good[1]).toBe(0x82);
    const head = (...octets: readonly number[]): Buffer =>
      Buffer.concat([Buffer.from([0x30, ...octets]), body]);
    expect(attempt(head(0x82, length >> 8, length & 255))).toBe(true);
    expect(attempt(head(0x83, 0, length >> 8, length & 255))).toBe(false);
    expect(attempt(Buffer.concat([head(0x80), Buffer.from([0, 0])]))).toBe(false);
    expect(attempt(head(0x84, 0xff, 0xff, 0xff, 0xff))).toBe(false);
  });
});
