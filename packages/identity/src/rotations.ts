import type { IdentitySnapshot, RotationKind } from './identity.js';

type Bundles = IdentitySnapshot['bundles'];

function hasAll(one: Bundles, other: Bundles): boolean {
  for (const [trustDomain, { authorities }] of one) {
    const theirs = other.get(trustDomain)?.authorities ?? [];
    if (authorities.some((der) => !theirs.some((known) => known.equals(der)))) return false;
  }
  return true;
}

/** Whether an authority was removed. */
export function hasLostAuthority(before: Bundles, after: Bundles): boolean {
  return !hasAll(before, after);
}

/** What differs between two identities. */
export function rotated(
  before: Pick<IdentitySnapshot, 'bundles' | 'svid'>,
  after: Pick<IdentitySnapshot, 'bundles' | 'svid'>,
): readonly RotationKind[] {
  const kinds: RotationKind[] = [];
  if (before.svid.fingerprint !== after.svid.fingerprint) kinds.push('svid');
  if (!hasAll(before.bundles, after.bundles) || !hasAll(after.bundles, before.bundles)) kinds.push('root');
  return kinds;
}
