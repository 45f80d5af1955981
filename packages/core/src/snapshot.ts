import type { AuthorizationPolicy } from './policy.js';
import type { SpiffeId } from './spiffe-id.js';
import type { ClusterRules, Route, RouteRules } from './traffic.js';
import type { Watch } from './watch.js';

/** What listeners accept: only mTLS, mTLS and plaintext, or only plaintext. */
export type MtlsMode = 'strict' | 'permissive' | 'disable';

/** Who we are. */
export interface Workload {
  /** Service name. */
  readonly service: string;
  /** Namespace. */
  readonly namespace: string;
  /** Own trust domain. */
  readonly trustDomain: string;
  /** Labels that policies select by. */
  readonly labels: Readonly<Record<string, string>>;
  /** Name of the workload, such as a deployment. @defaultValue the service */
  readonly name?: string;
  /** Cluster of Kubernetes it runs in. @defaultValue unknown */
  readonly cluster?: string;
}

/** One address of a cluster. */
export interface Endpoint {
  /** IP address or DNS name. */
  readonly host: string;
  /** TCP port. */
  readonly port: number;
  /** Share of traffic against its siblings. @defaultValue 1 */
  readonly weight?: number;
  /** 0 is used first; others as it fails. @defaultValue 0 */
  readonly priority?: number;
  /** `region/zone/subzone`, as far as it is known. */
  readonly locality?: string;
}

/** A service we call by a mesh name. */
export interface Cluster {
  /** Canonical name: `orders`, or `orders.billing` for another namespace. */
  readonly name: string;
  /** Identities its endpoints may have; never empty, there is no "any". */
  readonly identities: readonly SpiffeId[];
  /** Its endpoints, and their changes. */
  readonly endpoints: Watch<readonly Endpoint[]>;
  /** Balancing, limits, ejection. */
  readonly rules: ClusterRules;
  /** What holds for calls where no route says otherwise. */
  readonly routeRules: RouteRules;
}

/** The configuration in force: frozen, replaced as a whole. */
export interface Snapshot {
  /** Grows with each change. */
  readonly version: number;
  /** Who we are. */
  readonly workload: Workload;
  /** What listeners accept. */
  readonly mtls: MtlsMode;
  /** Clusters by name. */
  readonly clusters: ReadonlyMap<string, Cluster>;
  /** Routes by mesh name, first match first; a name without routes is the cluster of that name. */
  readonly routes: ReadonlyMap<string, readonly Route[]>;
  /** Policies of every source, not yet selected for this workload. */
  readonly policies: readonly AuthorizationPolicy[];
}

/**
 * Mesh name of a host: lower case, without trailing dot and port. `undefined` if it cannot be one.
 * `host` may be `orders`, `Orders.`, `orders:8080`, `orders.billing`.
 */
export function meshName(host: string): string | undefined {
  let end = host.length;
  const colon = host.lastIndexOf(':');
  if (colon !== -1) {
    if (host.indexOf(':') !== colon) return undefined;
    end = colon;
  }
  if (host.charCodeAt(end - 1) === 46) end--;
  return end === 0 ? undefined : host.slice(0, end).toLowerCase();
}

/** The name of the mesh that `host` stands for, for a caller in our namespace; `undefined` passes through. */
export function findName({ clusters, routes, workload }: Snapshot, host: string): string | undefined {
  const isKnown = (name: string): boolean => clusters.has(name) || (routes.size > 0 && routes.has(name));
  if (isKnown(host)) return host;
  const name = meshName(host);
  if (name === undefined) return undefined;
  if (isKnown(name)) return name;
  const suffix = `.${workload.namespace}`;
  if (!name.endsWith(suffix)) return undefined;
  const short = name.slice(0, -suffix.length);
  return isKnown(short) ? short : undefined;
}
