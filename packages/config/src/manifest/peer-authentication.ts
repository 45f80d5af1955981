import type { MtlsMode, Origin } from '@inmesh/core';
import type { Report } from './diagnostic.js';
import { type Manifest, specOf } from './read.js';
import { hasLabels, type ReaderScope, rootNamespace } from './scope.js';

/** What Istio's `PeerAuthentication` says of us. */
export interface PeerMode {
  /** What listeners accept. */
  readonly mode: MtlsMode;
  /** Where it stands. */
  readonly origin: Origin;
}

const modes: Readonly<Record<string, MtlsMode>> = {
  DISABLE: 'disable',
  PERMISSIVE: 'permissive',
  STRICT: 'strict',
};

/** 0: selects us; 1: our namespace; 2: the whole mesh; `undefined`: is not about us. */
function rankOf(manifest: Manifest, own: ReaderScope, report: Report): 0 | 1 | 2 | undefined {
  const namespace = manifest.namespace ?? own.namespace;
  const selector = specOf(manifest, report).at('selector').at('matchLabels');
  const selects = selector.entries.length > 0;
  // Istio: in the root namespace without a selector it is the mesh's; with one it selects in every namespace.
  if (namespace !== own.namespace && namespace !== rootNamespace) return undefined;
  if (selects) return hasLabels(selector.value, own.labels) ? 0 : undefined;
  return namespace === own.namespace ? 1 : 2;
}

/** The mode of the narrowest that says one; `UNSET` leaves it to the next. */
export function peerModeOf(
  manifests: readonly Manifest[],
  own: ReaderScope,
  report: Report,
): PeerMode | undefined {
  const ranked = manifests.flatMap((manifest) => {
    const rank = rankOf(manifest, own, report);
    return rank === undefined ? [] : [{ rank, manifest }];
  });
  for (const rank of [0, 1, 2] as const) {
    const [first, second] = ranked.filter((one) => one.rank === rank);
    if (first === undefined) continue;
    if (second !== undefined) {
      specOf(second.manifest, report).wrong(
        `PeerAuthentication ${first.manifest.name} selects the same; which of them holds is not said: remove one`,
      );
      return undefined;
    }
    const at = specOf(first.manifest, report).at('mtls').at('mode');
    const mode = at.text === undefined ? undefined : modes[at.text];
    if (mode !== undefined) return { mode, origin: at.origin };
  }
  return undefined;
}
