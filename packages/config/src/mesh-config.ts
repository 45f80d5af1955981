import type { AuthorizationPolicy, BalancerName, MtlsMode, RetryOn } from '@inmesh/core';
import type { AccessLog, ListenAddress } from './kinds.js';
import type { RouteInput } from './route-input.js';
import type { Upstream } from './upstream.js';

/** Everything that is configured, after defaults. Frozen. Durations in milliseconds. */
export interface MeshConfig {
  /** File or directory of configuration; none was read if `undefined`. */
  readonly configFile: string | undefined;
  /** Own service name. */
  readonly serviceName: string;
  /** Own namespace. */
  readonly namespace: string;
  /** Own trust domain. */
  readonly trustDomain: string;
  /** Labels that policies select this workload by. */
  readonly labels: Readonly<Record<string, string>>;
  /** Name of this workload in metrics; that of the service if `undefined`. */
  readonly workload: string | undefined;
  /** Name of the cluster it runs in, in metrics. */
  readonly clusterId: string | undefined;
  /** Whether peers are told who we are, and asked who they are. */
  readonly peerMetadata: boolean;
  /** What listeners accept. */
  readonly mtls: MtlsMode;
  /** Where the identity comes from; `auto`: files if configured, else the dev CA. */
  readonly identity: 'auto' | 'dev' | 'files';
  /** PEM certificate chain. */
  readonly certFile: string | undefined;
  /** PEM private key. */
  readonly keyFile: string | undefined;
  /** PEM trust bundle. */
  readonly caFile: string | undefined;
  /** Base directory of the dev CA. */
  readonly devCaDir: string | undefined;
  /** Life of certificates of the dev CA. */
  readonly devCaTtl: number;
  /** Longest wait for an identity at start. */
  readonly startupTimeout: number;
  /** Upstreams by name. */
  readonly upstreams: ReadonlyMap<string, Upstream>;
  /** Routes by mesh name, before rules are completed. */
  readonly routes: ReadonlyMap<string, readonly RouteInput[]>;
  /** The ALLOW policy of `INMESH_ALLOW`. */
  readonly allow: AuthorizationPolicy | undefined;
  /** Policies of the configuration file. */
  readonly policies: readonly AuthorizationPolicy[];
  /** What happens to a call where no ALLOW policy applies. */
  readonly authzDefault: 'allow' | 'deny';
  /** Directory of policies. */
  readonly policyDir: string | undefined;
  /** How request paths are normalized. */
  readonly pathNormalization:
    | 'NONE'
    | 'BASE'
    | 'MERGE_SLASHES'
    | 'DECODE_AND_MERGE_SLASHES'
    | 'REJECT_ESCAPED_SLASHES';
  /** Paths that a GET without TLS reaches although `mtls` is strict. */
  readonly probePaths: readonly string[];
  /** Longest wait for the first byte of a connection. */
  readonly sniffTimeout: number;
  /** Longest TLS handshake. */
  readonly handshakeTimeout: number;
  /** Longest wait for the head of a request. */
  readonly headersTimeout: number;
  /** Longest wait for an outbound connection, TLS included. */
  readonly connectTimeout: number;
  /** Connections of a listener. */
  readonly maxConnections: number;
  /** Handshakes under way of a listener. */
  readonly maxHandshakes: number;
  /** Connections to one endpoint. */
  readonly poolSize: number;
  /** Bound on the time to the head of a reply, over all attempts; 0 is none. */
  readonly timeout: number;
  /** Bound on a whole call, told to the peer; 0 is none. */
  readonly deadline: number;
  /** Attempts after the first. */
  readonly retries: number;
  /** When a call is sent again. */
  readonly retryOn: RetryOn;
  /** Bound on one attempt until its head; 0 is none. */
  readonly perTryTimeout: number;
  /** How endpoints are picked. */
  readonly balancer: BalancerName;
  /** Connections to all endpoints of an upstream. */
  readonly clusterMaxConnections: number;
  /** Calls to an upstream that wait for a connection. */
  readonly clusterMaxPending: number;
  /** Calls to an upstream in flight. */
  readonly clusterMaxRequests: number;
  /** Where this process runs: `region/zone/subzone`. */
  readonly locality: string | undefined;
  /** How often names of endpoints are looked up again. */
  readonly dnsInterval: number;
  /** Whether plain HTTP over HTTP/2 reaches the application. */
  readonly http2: boolean;
  /** How long a closing listener still accepts. */
  readonly drainDelay: number;
  /** How long calls in flight may take to end when closing. */
  readonly drainTimeout: number;
  /** What SIGTERM does: drain and end the process, or nothing of ours. */
  readonly sigterm: 'drain' | 'off';
  /** Where metrics and probes are served; nowhere if `undefined`. */
  readonly metricsAddr: ListenAddress | undefined;
  /** Who may read metrics; anybody if `undefined`. */
  readonly metricsAllow: AuthorizationPolicy | undefined;
  /** Who may ask for explanations; nobody if `undefined`. */
  readonly explainAllow: AuthorizationPolicy | undefined;
  /** What of calls is logged. */
  readonly accessLog: AccessLog;
  /** What is logged. */
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'off';
}
