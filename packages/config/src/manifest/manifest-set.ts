import type { AuthorizationPolicy, Origin } from '@inmesh/core';
import type { ConfigFile, FileScope, FileTraffic, FileUpstream, FileValue } from '../config-file.js';
import { didYouMean } from '../nearest.js';
import { overlayInput } from '../overlay-input.js';
import { readPolicy } from '../policy-documents.js';
import { placeOf } from '../problems.js';
import { isPlainObject } from '../shape.js';
import type { Upstream } from '../upstream.js';
import { checkSpec } from './check-fields.js';
import { both, type FileRule, readRules, subsetsOf } from './destination-rules.js';
import {
  type Diagnostic,
  maxDiagnostics,
  moreMistakes,
  type Report,
  renderDiagnostic,
  worstOf,
} from './diagnostic.js';
import { parseDocuments, type RawDocument } from './documents.js';
import { type IstioKind, istioKinds } from './field-tree.js';
import type { Locate } from './locate.js';
import { type MeshDocument, meshUpstreams, readMesh } from './mesh-document.js';
import { type PeerMode, peerModeOf } from './peer-authentication.js';
import type { Manifest } from './read.js';
import { type FileService, readServices } from './services.js';
import { readRouteFiles } from './virtual-services.js';

/** `apiVersion` of each kind. */
export const apiVersions: Readonly<Record<string, readonly string[]>> = Object.freeze({
  AuthorizationPolicy: ['security.istio.io/v1', 'security.istio.io/v1beta1'],
  PeerAuthentication: ['security.istio.io/v1', 'security.istio.io/v1beta1'],
  ServiceEntry: ['networking.istio.io/v1', 'networking.istio.io/v1beta1', 'networking.istio.io/v1alpha3'],
  WorkloadEntry: ['networking.istio.io/v1', 'networking.istio.io/v1beta1', 'networking.istio.io/v1alpha3'],
  VirtualService: ['networking.istio.io/v1', 'networking.istio.io/v1beta1', 'networking.istio.io/v1alpha3'],
  DestinationRule: ['networking.istio.io/v1', 'networking.istio.io/v1beta1', 'networking.istio.io/v1alpha3'],
  Mesh: ['inmesh.dev/v1alpha1'],
});

const kubernetesName = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;
const topFields = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];

function isIstioKind(kind: string): kind is IstioKind {
  return istioKinds.some((one) => one === kind);
}

/** A policy, whose namespace may be that of the reader. */
interface PolicyText {
  readonly json: unknown;
  readonly locate: Locate;
}

class ManifestSet implements ConfigFile {
  readonly texts: ReadonlyMap<string, string>;
  readonly #diagnostics: Diagnostic[] = [];
  readonly #policies: PolicyText[] = [];
  readonly #manifests: Manifest[] = [];
  #mesh: MeshDocument | undefined;
  #meshOrigin: Origin | undefined;
  /** Whether documents were left out because they are wrong: then what refers to them says nothing new. */
  readonly #isPartial: boolean;

  constructor(texts: ReadonlyMap<string, string>) {
    this.texts = texts;
    for (const [file, text] of texts)
      for (const document of parseDocuments(text, file, this.#report)) this.#take(document);
    this.#isPartial = this.#diagnostics.length > 0;
    if (
      !this.#isPartial &&
      this.#mesh === undefined &&
      this.#manifests.length + this.#policies.length === 0
    ) {
      const [source = 'the configuration'] = texts.keys();
      this.wrong({ source, line: 1, column: 1 }, 'there is nothing in it; remove it if that is meant');
    }
  }

  get mistakes(): ConfigFile['mistakes'] {
    const all = this.#diagnostics;
    const told = all
      .slice(0, maxDiagnostics)
      .map((one) => renderDiagnostic(one, this.texts.get(one.origin.source)));
    const problems = all.length > maxDiagnostics ? [...told, moreMistakes] : told;
    return { problems, code: worstOf(all)?.code };
  }

  wrong(origin: Origin, message: string): void {
    this.#report({ code: 'INMESH_ERR_CONFIG_INVALID', origin, message });
  }

  setting(key: string): FileValue | undefined {
    return this.#mesh?.values.get(key);
  }

  policies({ namespace }: FileScope): readonly AuthorizationPolicy[] {
    return this.#policies.flatMap(({ json, locate }) => {
      const policy = readPolicy(json, namespace, locate, this.#report);
      return policy === undefined ? [] : [policy];
    });
  }

  peerMode(scope: FileScope): PeerMode | undefined {
    return peerModeOf(this.#of('PeerAuthentication'), scope, this.#report);
  }

  upstreams(scope: FileScope): ReadonlyMap<string, FileUpstream> {
    const mesh = this.#mesh === undefined ? new Map() : meshUpstreams(this.#mesh, scope, this.#report);
    const found = new Map<string, FileUpstream>(mesh);
    for (const { name, endpoints, identities, origin } of this.#services(scope).values()) {
      const input = found.get(name)?.input;
      if (input?.endpoints !== undefined || input?.identity !== undefined)
        this.wrong(origin, `the Mesh says where ${name} is, too: say it once`);
      found.set(name, {
        input: input ?? {},
        endpoints: { kind: 'specs', specs: endpoints },
        identities,
        origin,
      });
    }
    return found;
  }

  traffic(scope: FileScope, upstreams: ReadonlyMap<string, Upstream>): FileTraffic {
    if (this.#isPartial) return { upstreams, origins: new Map(), routes: new Map() };
    const services = this.#services(scope);
    const known = new Set(upstreams.keys());
    const rules = readRules(this.#of('DestinationRule'), known, scope, this.#report);
    const all = new Map(upstreams);
    const origins = new Map<string, Origin>();
    for (const [name, rule] of rules) {
      const upstream = upstreams.get(name);
      if (upstream === undefined) continue;
      all.set(name, this.#ruled(upstream, rule));
      origins.set(name, rule.at.keyOrigin);
      const service = services.get(name);
      const isOfFile = service !== undefined && specsOf(upstream) === service.endpoints;
      for (const subset of subsetsOf(upstream, rule, isOfFile ? service : undefined)) {
        all.set(subset.name, subset);
        origins.set(subset.name, rule.at.keyOrigin);
      }
    }
    const ports = new Map([...upstreams.values()].map((one) => [one.name, portsOf(one, services)]));
    const files = readRouteFiles(this.#of('VirtualService'), { ports, rules }, scope, this.#report);
    const routes = [...files].map(
      ([name, list]) =>
        [name, { inputs: list.map((one) => one.input), origins: list.map((one) => one.origin) }] as const,
    );
    return { upstreams: all, origins, routes: new Map(routes) };
  }

  readonly #report: Report = (diagnostic) => {
    // Several questions may find the same mistake.
    const { origin, message } = diagnostic;
    const key = `${placeOf(origin)} ${message}`;
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.#diagnostics.push(diagnostic);
  };
  readonly #known = new Set<string>();

  #of(kind: IstioKind): readonly Manifest[] {
    return this.#manifests.filter((one) => one.kind === kind);
  }

  #services(scope: FileScope): ReadonlyMap<string, FileService> {
    this.#read ??= readServices(this.#of('ServiceEntry'), this.#of('WorkloadEntry'), scope, this.#report);
    return this.#read;
  }
  #read: ReadonlyMap<string, FileService> | undefined;

  #ruled(upstream: Upstream, { rules, identities, at }: FileRule): Upstream {
    const kept = identities === undefined ? upstream.identities : both(upstream.identities, identities);
    if (kept.length === 0)
      this.wrong(
        at.at('trafficPolicy').at('tls').at('subjectAltNames').origin,
        `none of these is an identity of ${upstream.name}: ${upstream.identities.map(({ uri }) => uri).join(', ')}`,
      );
    return Object.freeze({ ...upstream, identities: kept, rules: overlayInput(rules, upstream.rules) });
  }

  #take({ json, locate }: RawDocument): void {
    const kind = this.#checkTop(json, locate);
    if (kind === undefined || !isPlainObject(json)) return;
    const { spec = {}, metadata } = json;
    if (kind === 'Mesh') {
      this.#takeMesh(spec, locate);
      return;
    }
    const name = this.#checkMetadata(metadata, locate);
    if (name === undefined) return;
    if (kind === 'AuthorizationPolicy') {
      this.#policies.push({ json, locate });
      return;
    }
    if (!isIstioKind(kind)) return;
    const before = this.#diagnostics.length;
    checkSpec({ kind, locate, report: this.#report }, spec);
    if (this.#diagnostics.length > before || !isPlainObject(spec)) return;
    const { namespace } = metadata as { readonly namespace?: string };
    this.#manifests.push({ kind, name, namespace, spec, json, locate });
  }

  #takeMesh(spec: unknown, locate: Locate): void {
    if (this.#meshOrigin !== undefined) {
      const { source, line } = this.#meshOrigin;
      this.wrong(locate(['kind']), `${source}:${line} is a Mesh already; there is one at most`);
      return;
    }
    this.#meshOrigin = locate(['kind']);
    this.#mesh = readMesh(spec, locate, this.#report);
  }

  /** @returns the kind, if it is one that is read. */
  #checkTop(json: unknown, locate: Locate): string | undefined {
    if (!isPlainObject(json)) {
      this.wrong(locate([]), 'a document is a mapping with apiVersion and kind');
      return undefined;
    }
    const { kind, apiVersion } = json;
    const kinds = Object.keys(apiVersions);
    if (typeof kind !== 'string' || typeof apiVersion !== 'string') {
      this.wrong(locate([]), `a document has "apiVersion" and "kind"; there are ${kinds.join(', ')}`);
      return undefined;
    }
    const versions = apiVersions[kind];
    if (versions === undefined) {
      const hint = didYouMean(kind, kinds) || `; there are ${kinds.join(', ')}`;
      this.#report({
        code: 'INMESH_ERR_CONFIG_UNSUPPORTED',
        origin: locate(['kind']),
        message: `kind "${kind}" is not supported${hint}`,
        field: `kind: ${kind}`,
      });
      return undefined;
    }
    if (!versions.includes(apiVersion))
      this.wrong(
        locate(['apiVersion']),
        `apiVersion of ${kind} is ${versions.join(' or ')}, not "${apiVersion}"`,
      );
    for (const key of Object.keys(json).filter((one) => !topFields.includes(one)))
      this.#report({
        code: 'INMESH_ERR_CONFIG_UNKNOWN',
        origin: locate([key], true),
        message: `unknown field "${key}"${didYouMean(key, topFields)}`,
      });
    return kind;
  }

  /** Kubernetes adds to it what it likes. @returns the name */
  #checkMetadata(metadata: unknown, locate: Locate): string | undefined {
    const { name, namespace } = isPlainObject(metadata) ? metadata : {};
    if (typeof name !== 'string' || !kubernetesName.test(name)) {
      this.wrong(locate(['metadata', 'name']), 'metadata.name must be a Kubernetes name');
      return undefined;
    }
    if (namespace !== undefined && (typeof namespace !== 'string' || !kubernetesName.test(namespace))) {
      this.wrong(locate(['metadata', 'namespace']), 'metadata.namespace must be a Kubernetes name');
      return undefined;
    }
    return name;
  }
}

function specsOf({ endpoints }: Upstream): unknown {
  return endpoints.kind === 'specs' ? endpoints.specs : undefined;
}

/** Ports that a route may name: that of the `ServiceEntry`, or those of the endpoints. */
function portsOf(
  upstream: Upstream,
  services: ReadonlyMap<string, FileService>,
): readonly number[] | undefined {
  const service = services.get(upstream.name);
  const specs = upstream.endpoints.kind === 'specs' ? upstream.endpoints.specs : [];
  if (service !== undefined && specs === service.endpoints) return [service.port];
  const ports = specs.flatMap((spec) => (spec.kind === 'srv' ? [] : [spec.port]));
  return ports.length === 0 || ports.length < specs.length ? undefined : [...new Set(ports)];
}

/** Reads texts of documents, by the name of the file. What is wrong is in `mistakes`. */
export function readManifests(texts: ReadonlyMap<string, string>): ConfigFile {
  return new ManifestSet(texts);
}
