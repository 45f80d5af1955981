import {
  type Call,
  type CallEnd,
  grpcStatusNumber,
  httpStatusOf,
  type PeerMetadata,
  type Workload,
} from '@inmesh/core';
import { type ResponseFlag, responseFlag } from './response-flags.js';

/** Labels that tell who called whom; those of the message counters. */
export const edgeLabels = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_workload',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_service',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_service_name',
  'destination_service_namespace',
  'destination_cluster',
] as const;

/** Labels of the request metrics of Istio, all of them on both sides: Kiali drops a series that lacks one. */
export const requestLabels = [
  ...edgeLabels,
  'request_protocol',
  'response_code',
  'grpc_response_status',
  'response_flags',
  'connection_security_policy',
] as const;

/** Labels of the TCP metrics of Istio. */
export const tcpLabels = [
  ...edgeLabels,
  'request_protocol',
  'response_flags',
  'connection_security_policy',
] as const;

/** Value of a label of which nothing is known. */
export const unknownValue = 'unknown';

/** One end of a call, as labels tell it. */
export interface Party {
  /** Name of the workload, such as a deployment. */
  readonly workload: string;
  /** Istio's canonical service. */
  readonly canonicalService: string;
  /** Istio's canonical revision. */
  readonly canonicalRevision: string;
  /** Namespace of the workload. */
  readonly namespace: string;
  /** SPIFFE ID. */
  readonly principal: string;
  /** Label `app`. */
  readonly app: string;
  /** Label `version`. */
  readonly version: string;
  /** Cluster of Kubernetes. */
  readonly cluster: string;
}

/**
 * A peer: whom TLS proved, and what it says of itself, which proves nothing.
 *
 * @param uri - Its SPIFFE ID, which alone tells its namespace, unless it has none.
 */
export function peerParty(uri: string | undefined, said: Partial<PeerMetadata> = {}): Party {
  return {
    workload: said.workload ?? unknownValue,
    canonicalService: said.canonicalService ?? unknownValue,
    canonicalRevision: said.canonicalRevision ?? 'latest',
    namespace: /\/ns\/([^/]+)\//.exec(uri ?? '')?.[1] ?? said.namespace ?? unknownValue,
    principal: uri ?? unknownValue,
    app: said.app ?? unknownValue,
    version: said.version ?? unknownValue,
    cluster: said.cluster ?? unknownValue,
  };
}

/** This workload. */
export function ownParty(
  { service, namespace, labels, name = service, cluster = unknownValue }: Workload,
  principal: string,
): Party {
  const app = labels['app.kubernetes.io/name'] ?? labels['app'] ?? service;
  const version = labels['app.kubernetes.io/version'] ?? labels['version'];
  return {
    workload: name,
    canonicalService: labels['service.istio.io/canonical-name'] ?? app,
    canonicalRevision: labels['service.istio.io/canonical-revision'] ?? version ?? 'latest',
    namespace,
    principal,
    app,
    version: version ?? unknownValue,
    cluster,
  };
}

/** The service that is called. */
export interface CalledService {
  /** Short name. */
  readonly name: string;
  /** Namespace of the service. */
  readonly namespace: string;
}

/** What differs between the calls of one pair of parties. */
export interface Outcome {
  readonly protocol: 'grpc' | 'http';
  readonly code: number;
  /** Empty for what is no gRPC. */
  readonly grpcStatus: string;
  readonly flag: ResponseFlag;
  readonly isMutual: boolean;
}

/** How a call ended, in the words of labels. Where no reply came, the status that a proxy would have answered. */
export function outcomeOf(call: Pick<Call, 'connection' | 'protocol' | 'side'>, end: CallEnd): Outcome {
  const { side, protocol, connection } = call;
  const { error, httpStatus, status } = end;
  const isLeft = error?.code === 'INMESH_ERR_CANCELLED';
  return {
    protocol: protocol === 'grpc' ? 'grpc' : 'http',
    code: httpStatus > 0 || error === undefined || isLeft ? httpStatus : httpStatusOf(error.status),
    grpcStatus: protocol === 'grpc' ? String(grpcStatusNumber(status)) : '',
    flag: responseFlag(side, end),
    isMutual: connection?.peer !== undefined,
  };
}

/** Who calls whom, as one side of it tells. */
export interface Edge {
  /** Which side tells. */
  readonly reporter: 'destination' | 'source';
  /** Who calls. */
  readonly source: Party;
  /** Who is called. */
  readonly destination: Party;
  /** By which name. */
  readonly service: CalledService;
}

/** Values of {@link edgeLabels}. */
export function edgeValues({ reporter, source, destination, service }: Edge): readonly string[] {
  return [
    reporter,
    source.workload,
    source.canonicalService,
    source.canonicalRevision,
    source.namespace,
    source.principal,
    source.app,
    source.version,
    source.cluster,
    destination.workload,
    destination.namespace,
    destination.principal,
    destination.app,
    destination.version,
    `${service.name}.${service.namespace}.svc.cluster.local`,
    destination.canonicalService,
    destination.canonicalRevision,
    service.name,
    service.namespace,
    destination.cluster,
  ];
}

/** Values of {@link requestLabels}. */
export function requestValues(edge: Edge, outcome: Outcome): readonly string[] {
  return [
    ...edgeValues(edge),
    outcome.protocol,
    String(outcome.code),
    outcome.grpcStatus,
    outcome.flag,
    outcome.isMutual ? 'mutual_tls' : 'none',
  ];
}

/** Values of {@link tcpLabels}, for a connection over mTLS. */
export function tcpValues(edge: Edge): readonly string[] {
  return [...edgeValues(edge), 'tcp', '-', 'mutual_tls'];
}
