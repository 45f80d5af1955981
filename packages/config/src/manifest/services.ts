import { isIP } from 'node:net';
import { type Endpoint, type Origin, parseSpiffeId, type SpiffeId } from '@inmesh/core';
import { defaultIdentities } from '../cluster-names.js';
import { type EndpointSpec, readEndpoints } from '../endpoint-spec.js';
import { messageOf } from '../problems.js';
import type { Report } from './diagnostic.js';
import { type Cursor, type Manifest, specOf } from './read.js';
import { accountId, hasLabels, hostMistake, isExported, nameOfHost, type ReaderScope } from './scope.js';

/** Labels of an endpoint. */
type Labels = Readonly<Record<string, string>>;

/** A service that a manifest describes. */
export interface FileService {
  /** Name of the mesh. */
  readonly name: string;
  /** Where it is reached. */
  readonly endpoints: readonly EndpointSpec[];
  /** Labels of each of them. */
  readonly labels: ReadonlyMap<EndpointSpec, Labels>;
  /** Identities that they may have. */
  readonly identities: readonly SpiffeId[];
  /** The port that callers name. */
  readonly port: number;
  /** Where it stands. */
  readonly origin: Origin;
}

/** One endpoint, before it belongs to a service. */
interface Workload {
  readonly spec: EndpointSpec;
  readonly labels: Labels;
  readonly identity: SpiffeId | undefined;
}

/** The port of a `ServiceEntry`. */
interface Port {
  readonly name: string;
  readonly number: number;
  readonly target: number;
}

const spoken: ReadonlySet<string> = new Set(['HTTP', 'HTTP2', 'GRPC', 'GRPC-WEB']);

function portOf(spec: Cursor): Port | undefined {
  const at = spec.at('ports');
  const [first, second] = at.items;
  if (first === undefined) return at.wrong('a ServiceEntry has a port: ports: [{ number, name, protocol }]');
  if (second !== undefined) return second.unsupported('a second port of a service', 'spec.ports[]');
  const number = first.at('number');
  const target = first.at('targetPort');
  for (const one of [number, target])
    if (one.number !== undefined && (one.number < 1 || one.number > 65_535))
      return one.wrong(`${one.number} is no port from 1 to 65535`);
  if (number.number === undefined) return first.wrong('a port has a "number"');
  const name = first.at('name').text;
  if (name === undefined) return first.wrong('a port has a "name"');
  const protocol = first.at('protocol');
  if (!spoken.has((protocol.text ?? 'HTTP').toUpperCase()))
    return protocol.unsupported(`the protocol "${protocol.text}"`, 'spec.ports[].protocol');
  return { name, number: number.number, target: target.number ?? number.number };
}

/** Reads an endpoint: of a `ServiceEntry`, or the `spec` of a `WorkloadEntry`. */
function workloadOf(
  at: Cursor,
  port: Port,
  needsIp: boolean,
  namespace: string,
  own: ReaderScope,
): Workload | undefined {
  const address = at.at('address');
  if (address.text === undefined) return at.wrong('an endpoint has an "address"');
  if (needsIp && isIP(address.text) === 0)
    return address.wrong(`"${address.text}" is no IP address; names need "resolution: DNS"`);
  const weight = at.at('weight');
  if (weight.number !== undefined && weight.number < 1) return weight.wrong('a weight is 1 or more');
  const locality = at.at('locality').text;
  const ownPort = at.at('ports').at(port.name).number ?? port.target;
  const endpoint: Endpoint = {
    host: address.text,
    port: ownPort,
    ...(weight.number === undefined ? {} : { weight: weight.number }),
    ...(locality === undefined || locality === '' ? {} : { locality }),
  };
  const problems: string[] = [];
  const [spec] = readEndpoints([endpoint], 'the endpoint', problems);
  if (spec === undefined || problems.length > 0) return at.wrong(problems.join('; '));
  const account = at.at('serviceAccount');
  const labels = Object.fromEntries(at.at('labels').entries.map(([key, one]) => [key, one.text ?? '']));
  try {
    const identity = account.text ? accountId(account.text, namespace, own) : undefined;
    return { spec, labels: Object.freeze(labels), identity };
  } catch (error) {
    return account.wrong(messageOf(error));
  }
}

/** Identities that are named one by one. */
export function namedIdentities(at: Cursor): readonly SpiffeId[] | undefined {
  const found: SpiffeId[] = [];
  for (const item of at.items) {
    try {
      found.push(parseSpiffeId(item.text ?? ''));
    } catch (error) {
      item.wrong(`${messageOf(error)}; peers are known by SPIFFE IDs`);
    }
  }
  return found.length === 0 ? undefined : Object.freeze(found);
}

/** Reads services of `ServiceEntry` and `WorkloadEntry`. */
class ServiceReader {
  readonly #entries: readonly Manifest[];
  readonly #own: ReaderScope;
  readonly #report: Report;
  readonly #found = new Map<string, FileService>();

  constructor(entries: readonly Manifest[], own: ReaderScope, report: Report) {
    this.#entries = entries;
    this.#own = own;
    this.#report = report;
  }

  read(manifests: readonly Manifest[]): ReadonlyMap<string, FileService> {
    for (const manifest of manifests) this.#read(manifest);
    return this.#found;
  }

  #read(manifest: Manifest): void {
    const spec = specOf(manifest, this.#report);
    const namespace = manifest.namespace ?? this.#own.namespace;
    if (!isExported(spec.at('exportTo').value, namespace, this.#own)) return;
    if (!this.#checkKind(spec)) return;
    const port = portOf(spec);
    if (spec.at('hosts').items.length === 0) spec.at('hosts').wrong('a ServiceEntry names its hosts');
    if (port === undefined) return;
    const resolution = spec.at('resolution').text;
    for (const host of spec.at('hosts').items) {
      const mistake = hostMistake(host.text ?? '');
      if (mistake !== undefined) {
        host.wrong(mistake);
        continue;
      }
      const workloads = this.#workloads(spec, host, port, resolution === 'STATIC', namespace);
      if (workloads.length > 0) this.#add(spec, host, port, workloads, namespace);
    }
  }

  /** What Istio takes by default is not what we can do; so it must be said. */
  #checkKind(spec: Cursor): boolean {
    const location = spec.at('location');
    const resolution = spec.at('resolution');
    if (!location.isThere)
      spec.unsupported(
        'a service outside of the mesh, which is what "location" says if it is left out (write MESH_INTERNAL),',
        'spec.location',
      );
    if (!resolution.isThere)
      spec.unsupported(
        '"resolution: NONE", which holds if it is left out (write STATIC or DNS),',
        'spec.resolution',
      );
    return location.isThere && resolution.isThere;
  }

  #workloads(
    spec: Cursor,
    host: Cursor,
    port: Port,
    needsIp: boolean,
    namespace: string,
  ): readonly Workload[] {
    const endpoints = spec.at('endpoints');
    const selector = spec.at('workloadSelector').at('labels');
    const read = (at: Cursor): readonly Workload[] => {
      const one = workloadOf(at, port, needsIp, namespace, this.#own);
      return one === undefined ? [] : [one];
    };
    if (endpoints.items.length > 0) {
      if (selector.isThere)
        spec.at('workloadSelector').wrong('give endpoints or a workloadSelector, not both');
      return endpoints.items.flatMap(read);
    }
    if (selector.isThere) {
      const selected = this.#entries.filter(
        (entry) =>
          (entry.namespace ?? this.#own.namespace) === namespace &&
          hasLabels(selector.value, labelsOf(entry)),
      );
      if (selected.length === 0) selector.wrong('no WorkloadEntry has these labels');
      return selected.flatMap((entry) => read(specOf(entry, this.#report)));
    }
    if (needsIp) {
      spec.at('resolution').wrong('"resolution: STATIC" needs endpoints or a workloadSelector');
      return [];
    }
    const problems: string[] = [];
    const [one] = readEndpoints([{ host: host.text ?? '', port: port.target }], 'the host', problems);
    return one === undefined ? [] : [{ spec: one, labels: {}, identity: undefined }];
  }

  #add(spec: Cursor, host: Cursor, port: Port, workloads: readonly Workload[], namespace: string): void {
    const text = host.text ?? '';
    const name = nameOfHost(text, namespace, this.#own);
    const identities = this.#identities(spec, name, workloads);
    if (identities === undefined) {
      host.wrong(
        `whom to expect at ${text} is not said: give subjectAltNames, or a serviceAccount for each endpoint`,
      );
      return;
    }
    const other = this.#found.get(name);
    if (other !== undefined) {
      host.wrong(`${other.origin.source}:${other.origin.line} describes ${name} already`);
      return;
    }
    this.#found.set(name, {
      name,
      endpoints: Object.freeze(workloads.map((one) => one.spec)),
      labels: new Map(workloads.map((one) => [one.spec, one.labels])),
      identities,
      port: port.number,
      origin: host.origin,
    });
  }

  /** As Istio: those of `subjectAltNames`, else those of the accounts; else ours, the account of the name. */
  #identities(spec: Cursor, name: string, workloads: readonly Workload[]): readonly SpiffeId[] | undefined {
    const at = spec.at('subjectAltNames');
    if (at.items.length > 0) return namedIdentities(at) ?? [];
    const accounts = workloads.flatMap(({ identity }) => (identity === undefined ? [] : [identity]));
    const distinct = [...new Map(accounts.map((id) => [id.uri, id])).values()];
    if (accounts.length === workloads.length) return Object.freeze(distinct);
    if (name.split('.').length > 2) return undefined;
    const ofName = defaultIdentities(name, this.#own);
    return Object.freeze([...new Map([...ofName, ...distinct].map((id) => [id.uri, id])).values()]);
  }
}

/** Labels that a `WorkloadEntry` is selected by: those of its `spec`, and of its metadata, as in Istio. */
function labelsOf({ json, spec }: Manifest): Labels {
  const { metadata } = json as { readonly metadata?: { readonly labels?: Labels } };
  return { ...metadata?.labels, ...(spec['labels'] as Labels | undefined) };
}

/** Services that we may call, by name of the mesh. */
export function readServices(
  manifests: readonly Manifest[],
  entries: readonly Manifest[],
  own: ReaderScope,
  report: Report,
): ReadonlyMap<string, FileService> {
  return new ServiceReader(entries, own, report).read(manifests);
}
