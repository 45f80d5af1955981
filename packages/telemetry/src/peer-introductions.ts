import { createHash } from 'node:crypto';
import {
  type ConnectionFacts,
  type IntroductionLine,
  type Introductions,
  type PeerMetadata,
  peerMetadataHeader,
  peerMetadataIdHeader,
  type SpiffeId,
  type Workload,
} from '@inmesh/core';
import { decodeStruct, encodeStruct, type StructFields } from './protobuf-struct.js';
import { ownParty, unknownValue } from './request-labels.js';

/** Longest text that is read, in characters. Proxies of Istio send some hundred. */
const maxText = 8192;
/** Different things that workloads of one identity may say; further ones are not heard. */
const maxPerIdentity = 64;
/** Identities of which something is remembered; beyond it everybody is heard anew. */
const maxIdentities = 4096;
/** A value of a label of Kubernetes, of which metrics are to have no others. */
const labelValue = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
/** By which we know our own kind, whose servers remember an introduction for a whole connection. */
const ownPrefix = 'inmesh~';

function valid(value: StructFields[string] | undefined): string | undefined {
  return typeof value === 'string' && labelValue.test(value) ? value : undefined;
}

function namespaceOf(id: SpiffeId): string | undefined {
  return /\/ns\/([^/]+)\//.exec(id.uri)?.[1];
}

/** What a workload says, as far as it can be a label. */
function metadataOf(fields: StructFields): PeerMetadata {
  const given = fields['LABELS'];
  const labels = typeof given === 'object' ? given : {};
  const workload = valid(fields['WORKLOAD_NAME']);
  const app = valid(labels['app.kubernetes.io/name']) ?? valid(labels['app']);
  const version = valid(labels['app.kubernetes.io/version']) ?? valid(labels['version']);
  return {
    workload,
    canonicalService: valid(labels['service.istio.io/canonical-name']) ?? app ?? workload,
    canonicalRevision: valid(labels['service.istio.io/canonical-revision']) ?? version,
    namespace: valid(fields['NAMESPACE']),
    app,
    version,
    cluster: valid(fields['CLUSTER_ID']),
  };
}

/** The same in the other direction, with the names that Istio looks for. */
function fieldsOf(own: Workload): StructFields {
  const { workload, app, canonicalService, canonicalRevision, namespace, version, cluster } = ownParty(
    own,
    '',
  );
  return {
    ...(cluster === unknownValue ? {} : { CLUSTER_ID: cluster }),
    LABELS: {
      app,
      'service.istio.io/canonical-name': canonicalService,
      'service.istio.io/canonical-revision': canonicalRevision,
      ...(version === unknownValue ? {} : { version }),
    },
    NAME: workload,
    NAMESPACE: namespace,
    WORKLOAD_NAME: workload,
  };
}

/**
 * Exchanges what workloads are called with mesh peers, as Istio's metadata exchange does, so that both sides of an edge
 * have its labels. What is heard is text of the peer: a namespace that its identity does not prove makes all of it
 * unbelievable, and what cannot be a label is left out.
 *
 * @see {@link https://github.com/istio/proxy/blob/master/source/extensions/filters/http/peer_metadata/filter.cc | Istio's peer_metadata filter}
 */
export class PeerIntroductions implements Introductions {
  readonly #workload: Workload;
  #own: readonly IntroductionLine[] | undefined;
  /** One object for the same words of the same identity, so that series are found by it. */
  readonly #known = new Map<string, Map<string, PeerMetadata>>();

  /** @param workload - Who we are. */
  constructor(workload: Workload) {
    this.#workload = workload;
  }

  get own(): readonly IntroductionLine[] {
    this.#own ??= this.#introduce();
    return this.#own;
  }

  hear(connection: ConnectionFacts, id: string, text: string): void {
    const { introduction, peer } = connection;
    if (introduction === undefined || peer === undefined) return;
    introduction.isLasting = id.startsWith(ownPrefix);
    if (text === introduction.text || text.length > maxText) return;
    introduction.text = text;
    introduction.metadata = this.#read(peer.id, text);
  }

  #introduce(): readonly IntroductionLine[] {
    const text = Buffer.from(encodeStruct(fieldsOf(this.#workload))).toString('base64');
    // Proxies remember the text by this name, so that another text needs another name.
    const digest = createHash('sha256').update(text).digest('hex').slice(0, 16);
    return Object.freeze([
      Object.freeze([peerMetadataHeader, text] as const),
      Object.freeze([peerMetadataIdHeader, `${ownPrefix}${this.#workload.service}~${digest}`] as const),
    ]);
  }

  #read(id: SpiffeId, text: string): PeerMetadata | undefined {
    let metadata: PeerMetadata;
    try {
      metadata = metadataOf(decodeStruct(Buffer.from(text, 'base64')));
    } catch {
      return undefined;
    }
    const proven = namespaceOf(id);
    if (proven !== undefined && metadata.namespace !== undefined && metadata.namespace !== proven)
      return undefined;
    return this.#shared(id, metadata);
  }

  #shared(id: SpiffeId, metadata: PeerMetadata): PeerMetadata | undefined {
    let known = this.#known.get(id.uri);
    if (known === undefined) {
      if (this.#known.size >= maxIdentities) this.#known.clear();
      known = new Map();
      this.#known.set(id.uri, known);
    }
    const { workload, canonicalService, canonicalRevision, namespace, app, version, cluster } = metadata;
    // No value has a space in it.
    const key = [workload, canonicalService, canonicalRevision, namespace, app, version, cluster].join(' ');
    const same = known.get(key);
    if (same !== undefined || known.size >= maxPerIdentity) return same;
    known.set(key, Object.freeze(metadata));
    return metadata;
  }
}
