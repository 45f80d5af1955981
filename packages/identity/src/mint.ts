import { randomBytes, webcrypto } from 'node:crypto';

/** A certificate and its private key. */
export interface Minted {
  /** PEM certificate. */
  readonly certPem: string;
  /** PKCS#8 PEM private key. */
  readonly keyPem: string;
}

/** What a certificate is minted of. Everything is written as given: tests mint wrong ones on purpose. */
export interface MintRequest {
  /** URI SANs. */
  readonly uris: readonly string[];
  /** DNS SANs. */
  readonly dnsNames?: readonly string[];
  /** Common name; empty subject if left out. */
  readonly commonName?: string;
  /** Start of validity, wall clock in milliseconds. */
  readonly notBeforeMs: number;
  /** End of validity, wall clock in milliseconds. */
  readonly notAfterMs: number;
  /** Mint a CA. */
  readonly isCa?: boolean;
  /** Bits of key usage: 1 digitalSignature, 32 keyCertSign, 64 cRLSign. */
  readonly keyUsage?: number;
  /** Object identifiers of extended key usage. */
  readonly extendedKeyUsage?: readonly string[];
  /** Who signs; self-signed if left out. */
  readonly issuer?: Minted;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const signing = { name: 'ECDSA', hash: 'SHA-256' } as const;

function pemBody(pem: string): Buffer {
  return Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
}

function keyPemOf(pkcs8: ArrayBuffer): string {
  const lines = Buffer.from(pkcs8)
    .toString('base64')
    .replaceAll(/(.{64})(?=.)/g, '$1\n');
  return `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`;
}

/** Loaded only when something is minted: importing the library costs more than minting with it. */
async function loadLibrary(): Promise<typeof import('@peculiar/x509')> {
  await import('reflect-metadata');
  return await import('@peculiar/x509');
}

/** Mints a P-256 certificate with a new key. */
export async function mint(request: MintRequest): Promise<Minted> {
  const x509 = await loadLibrary();
  const { subtle } = webcrypto;
  const pair = await subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const issuer = request.issuer === undefined ? undefined : new x509.X509Certificate(request.issuer.certPem);
  const signingKey =
    request.issuer === undefined
      ? pair.privateKey
      : await subtle.importKey('pkcs8', pemBody(request.issuer.keyPem), algorithm, false, ['sign']);
  const subject = request.commonName === undefined ? '' : `CN=${request.commonName}`;
  const names = [
    ...request.uris.map((value) => ({ type: 'url' as const, value })),
    ...(request.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
  ];
  const isCa = request.isCa ?? false;
  const usage = request.keyUsage ?? (isCa ? 32 | 64 : 1);
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serial.toString('hex'),
      subject,
      issuer: issuer === undefined ? subject : issuer.subject,
      notBefore: new Date(request.notBeforeMs),
      notAfter: new Date(request.notAfterMs),
      signingAlgorithm: signing,
      publicKey: pair.publicKey,
      signingKey,
      extensions: [
        new x509.BasicConstraintsExtension(isCa, undefined, true),
        ...(usage === 0 ? [] : [new x509.KeyUsagesExtension(usage, true)]),
        ...(request.extendedKeyUsage === undefined
          ? []
          : [new x509.ExtendedKeyUsageExtension([...request.extendedKeyUsage])]),
        ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names, subject === '')]),
        await x509.SubjectKeyIdentifierExtension.create(pair.publicKey, false, webcrypto),
        ...(issuer === undefined
          ? []
          : [await x509.AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto)]),
      ],
    },
    webcrypto,
  );
  return {
    certPem: `${certificate.toString('pem')}\n`,
    keyPem: keyPemOf(await subtle.exportKey('pkcs8', pair.privateKey)),
  };
}

/** Both uses of an SVID: it speaks for a workload as a server and as a client. */
export const svidUsages: readonly string[] = Object.freeze(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
