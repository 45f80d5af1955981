import { type Minted, type MintRequest, mint, svidUsages } from './mint.js';

/** A throwaway authority, in memory. */
export interface TestCa {
  /** Its trust domain. */
  readonly trustDomain: string;
  /** Its PEM certificate: the trust bundle. */
  readonly bundlePem: string;
  /** Mints an SVID for `path` (such as `/ns/default/sa/web`); `faults` overrides any part of it. */
  issue(path: string, faults?: Partial<MintRequest>): Promise<Minted>;
}

/**
 * Makes a {@link TestCa}.
 *
 * @param wallMs - Wall clock now. @defaultValue the system's
 */
export async function createTestCa(
  trustDomain: string,
  wallMs: number = performance.timeOrigin + performance.now(),
): Promise<TestCa> {
  const dayMs = 86_400_000;
  const ca = await mint({
    uris: [`spiffe://${trustDomain}`],
    commonName: `${trustDomain} test CA`,
    notBeforeMs: wallMs - 60_000,
    notAfterMs: wallMs + dayMs,
    isCa: true,
  });
  return {
    trustDomain,
    bundlePem: ca.certPem,
    issue: (path, faults = {}) =>
      mint({
        uris: [`spiffe://${trustDomain}${path}`],
        notBeforeMs: wallMs - 60_000,
        notAfterMs: wallMs + 3_600_000,
        extendedKeyUsage: svidUsages,
        issuer: ca,
        ...faults,
      }),
  };
}

export { type Minted, type MintRequest, mint } from './mint.js';
