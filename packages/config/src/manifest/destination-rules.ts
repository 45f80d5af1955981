import type { SpiffeId } from '@inmesh/core';
import { didYouMean } from '../nearest.js';
import { overlayInput } from '../overlay-input.js';
import type { Upstream } from '../upstream.js';
import type { Report } from './diagnostic.js';
import { type Cursor, type Manifest, specOf } from './read.js';
import { hasLabels, hostMistake, isExported, nameOfHost, type ReaderScope, rootNamespace } from './scope.js';
import { type FileService, namedIdentities } from './services.js';
import { type ClusterPart, clusterPartOf } from './traffic-policy.js';

/** What a `DestinationRule` says of a name. */
export interface FileRule {
  /** Rules of the cluster. */
  readonly rules: ClusterPart;
  /** Identities that alone are accepted; `undefined` leaves those that there are. */
  readonly identities: readonly SpiffeId[] | undefined;
  /** Subsets by name. */
  readonly subsets: ReadonlyMap<string, FileSubset>;
  /** The document. */
  readonly at: Cursor;
}

/** A part of a service's endpoints. */
interface FileSubset {
  /** Labels that its endpoints have. */
  readonly labels: Readonly<Record<string, string>>;
  /** Rules, those of the whole included. */
  readonly rules: ClusterPart;
  /** As for the whole. */
  readonly identities: readonly SpiffeId[] | undefined;
  /** Where it stands. */
  readonly at: Cursor;
}

/** Name of the cluster of a subset. No host and no upstream has a name like it. */
export function subsetName(cluster: string, subset: string): string {
  return `${cluster}|${subset}`;
}

/** Whose rule is taken: our own namespace's before that of the service, the mesh's last; one that selects us first. */
function rankOf(manifest: Manifest, spec: Cursor, name: string, own: ReaderScope): number | undefined {
  const namespace = manifest.namespace ?? own.namespace;
  if (!isExported(spec.at('exportTo').value, namespace, own)) return undefined;
  const selector = spec.at('workloadSelector').at('matchLabels');
  const selects = selector.entries.length > 0;
  if (selects && (namespace !== own.namespace || !hasLabels(selector.value, own.labels))) return undefined;
  const ofService = name.split('.')[1] ?? own.namespace;
  const places = [own.namespace, ofService, rootNamespace];
  const place = places.indexOf(namespace);
  return place === -1 ? undefined : place * 2 + (selects ? 0 : 1);
}

function readSubset(at: Cursor, policy: Cursor): FileSubset {
  const policies = [policy, at.at('trafficPolicy')];
  const tls = at.at('trafficPolicy').at('tls').isThere ? at.at('trafficPolicy').at('tls') : policy.at('tls');
  const labels = at.at('labels').entries.map(([key, one]) => [key, one.text ?? ''] as const);
  return {
    labels: Object.freeze(Object.fromEntries(labels)),
    rules: clusterPartOf(policies),
    identities: namedIdentities(tls.at('subjectAltNames')),
    at,
  };
}

function readRule(spec: Cursor): FileRule {
  const policy = spec.at('trafficPolicy');
  const subsets = new Map<string, FileSubset>();
  for (const at of spec.at('subsets').items) {
    const name = at.at('name');
    if (name.text === undefined || !/^[a-z0-9](?:[-a-z0-9.]{0,61}[a-z0-9])?$/.test(name.text))
      name.wrong('a subset has a name, of a-z, 0-9, "-" and "."');
    else if (subsets.has(name.text)) name.wrong(`there are two subsets "${name.text}"`);
    else subsets.set(name.text, readSubset(at, policy));
  }
  return {
    rules: clusterPartOf([policy]),
    identities: namedIdentities(policy.at('tls').at('subjectAltNames')),
    subsets,
    at: spec,
  };
}

/** The rules that hold for us, by name of the mesh. @param known - Names that there are. */
export function readRules(
  manifests: readonly Manifest[],
  known: ReadonlySet<string>,
  own: ReaderScope,
  report: Report,
): ReadonlyMap<string, FileRule> {
  const ranks = new Map<string, number>();
  const found = new Map<string, FileRule>();
  for (const manifest of manifests) {
    const spec = specOf(manifest, report);
    const host = spec.at('host');
    const mistake = host.text === undefined ? 'a DestinationRule names its "host"' : hostMistake(host.text);
    if (host.text === undefined || mistake !== undefined) {
      host.wrong(mistake ?? '');
      continue;
    }
    const name = nameOfHost(host.text, manifest.namespace ?? own.namespace, own);
    const rank = rankOf(manifest, spec, name, own);
    if (rank === undefined) continue;
    if (!known.has(name)) {
      host.wrong(`there is no upstream and no ServiceEntry "${name}"${didYouMean(name, known)}`);
      continue;
    }
    const before = ranks.get(name);
    const other = found.get(name);
    if (before === rank && other !== undefined) {
      const { source, line } = other.at.keyOrigin;
      host.wrong(`${source}:${line} has rules for ${name} already; put them into one DestinationRule`);
      continue;
    }
    // A rule that is not taken is checked all the same.
    const rule = readRule(spec);
    if (before !== undefined && before < rank) continue;
    ranks.set(name, rank);
    found.set(name, rule);
  }
  return found;
}

/** The clusters of a rule's subsets. @param upstream - Without the rule. @param service - Where the endpoints and their labels were read; `undefined` if they have none. */
export function subsetsOf(
  upstream: Upstream,
  rule: FileRule,
  service: FileService | undefined,
): readonly Upstream[] {
  return [...rule.subsets].flatMap(([name, { labels, rules, identities, at }]) => {
    const { endpoints } = upstream;
    const needsLabels = Object.keys(labels).length > 0;
    if (needsLabels && (endpoints.kind === 'watch' || service === undefined)) {
      at.at('labels').wrong(
        `the endpoints of ${upstream.name} have no labels: they come from code or the environment, not from a ServiceEntry`,
      );
      return [];
    }
    const all = endpoints.kind === 'watch' ? [] : endpoints.specs;
    const specs = needsLabels ? all.filter((one) => hasLabels(labels, service?.labels.get(one) ?? {})) : all;
    if (needsLabels && specs.length === 0) {
      at.at('labels').wrong(`no endpoint of ${upstream.name} has these labels`);
      return [];
    }
    const kept = identities === undefined ? upstream.identities : both(upstream.identities, identities);
    if (kept.length === 0) {
      at.wrong(`no identity of ${upstream.name} is among these subjectAltNames`);
      return [];
    }
    return [
      Object.freeze({
        name: subsetName(upstream.name, name),
        identities: kept,
        endpoints: needsLabels ? Object.freeze({ kind: 'specs' as const, specs }) : endpoints,
        rules: overlayInput(rules, upstream.rules),
        calls: upstream.calls,
      }),
    ];
  });
}

/** Identities that both allow: no source loosens what another says. */
export function both(one: readonly SpiffeId[], other: readonly SpiffeId[]): readonly SpiffeId[] {
  const uris = new Set(other.map(({ uri }) => uri));
  return Object.freeze(one.filter(({ uri }) => uris.has(uri)));
}
