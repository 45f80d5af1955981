import type { SpiffeId, Watch } from '@inmesh/core';

/** An X509-SVID of our own, validated, with its private key. Frozen. */
export interface X509Svid {
  /** The one URI SAN of the leaf. */
  readonly id: SpiffeId;
  /** DER certificates, leaf first, without the root. */
  readonly chain: readonly Buffer[];
  /** The same chain as PEM. */
  readonly certPem: string;
  /** Start of validity of the leaf, wall clock in milliseconds. */
  readonly notBeforeMs: number;
  /** End of validity of the leaf, wall clock in milliseconds. */
  readonly notAfterMs: number;
  /** Serial number, lower-case hex without leading zeros. */
  readonly serial: string;
  /** SHA-256 of the leaf, lower-case hex. */
  readonly fingerprint: string;
  /** The private key as PKCS#8 PEM. A function, so that logs and dumps of the object do not show it. */
  keyPem(): string;
}

/** The authorities of one trust domain. */
export interface TrustBundle {
  /** Trust domain name, such as `dev.local`. */
  readonly trustDomain: string;
  /** DER certificates of its authorities. Empty trusts nobody. */
  readonly authorities: readonly Buffer[];
}

/** Where an identity came from. */
export type IdentityOrigin = 'dev-ca' | 'files' | 'code';

/** Who we are and whom we trust, as one value. Frozen. */
export interface IdentitySnapshot {
  /** Grows with each change. */
  readonly generation: number;
  /** Grows when an authority is removed; connections of an older epoch are not used for new calls. */
  readonly trustEpoch: number;
  /** Our own SVID. */
  readonly svid: X509Svid;
  /** Trust bundles by trust domain. */
  readonly bundles: ReadonlyMap<string, TrustBundle>;
  /** Where it came from. */
  readonly origin: IdentityOrigin;
}

/** What of an identity is replaced: our own certificate, or whom we trust. */
export type RotationKind = 'root' | 'svid';

/** How often one was replaced. */
export interface RotationCount {
  /** Times that another came into force. */
  success: number;
  /** Times that another was refused, or could not be had. */
  failure: number;
}

/** How often the parts of an identity were replaced. The first ones replace nothing. */
export type Rotations = Readonly<Record<RotationKind, Readonly<RotationCount>>>;

/** A {@link Watch} of our identity with a lifetime. */
export interface IdentitySource extends Watch<IdentitySnapshot> {
  /** How often its parts were replaced. */
  readonly rotations: Rotations;
  /** Stops watching and renewing; the last value stays readable until it expires. */
  close(): Promise<void>;
}
