import { type FieldRow, fieldRows, type IstioKind, istioKinds } from './field-tree.js';

/** What becomes of a field: it is in force, it may say only what holds anyway, or it is an error. */
export type Support =
  | {
      /** Tells them apart. */
      readonly kind: 'enforced' | 'refused';
    }
  | {
      /** Tells them apart. */
      readonly kind: 'fixed';
      /** What it may say. */
      readonly values: readonly unknown[];
    };

/** What is in force, by kind: fields, and with them everything below. A field that is not here is refused. */
const enforced: Readonly<Record<IstioKind, string>> = {
  AuthorizationPolicy: `
    rules[].from[].source.ipBlocks rules[].from[].source.notIpBlocks
    rules[].from[].source.namespaces rules[].from[].source.notNamespaces
    rules[].from[].source.principals rules[].from[].source.notPrincipals
    rules[].from[].source.serviceAccounts rules[].from[].source.notServiceAccounts
    rules[].from[].source.trustDomains rules[].from[].source.notTrustDomains
    rules[].to[].operation rules[].when selector`,
  PeerAuthentication: 'mtls selector',
  ServiceEntry: `
    endpoints[].address endpoints[].labels endpoints[].locality endpoints[].ports endpoints[].serviceAccount
    endpoints[].weight exportTo hosts ports subjectAltNames workloadSelector`,
  WorkloadEntry: 'address labels locality ports serviceAccount weight',
  VirtualService: `
    exportTo gateways hosts http[].directResponse.body.string http[].directResponse.status http[].headers
    http[].match[].gateways http[].match[].headers http[].match[].method.exact http[].match[].name
    http[].match[].queryParams http[].match[].sourceLabels http[].match[].sourceNamespace http[].match[].uri
    http[].match[].withoutHeaders http[].name http[].redirect.authority http[].redirect.prefixRewrite
    http[].redirect.redirectCode http[].redirect.scheme http[].redirect.uri http[].retries.attempts
    http[].retries.backoff http[].retries.perTryTimeout http[].retries.retryIgnorePreviousHosts
    http[].retries.retryOn http[].rewrite.authority http[].rewrite.uri http[].route http[].timeout`,
  DestinationRule: `
    exportTo host subsets[].labels subsets[].name workloadSelector
    @connectionPool.http.http1MaxPendingRequests @connectionPool.http.http2MaxRequests
    @connectionPool.http.maxRetries @connectionPool.tcp.maxConnections
    @loadBalancer.localityLbSetting.enabled @loadBalancer.warmup @loadBalancer.warmupDurationSecs
    @outlierDetection.baseEjectionTime @outlierDetection.consecutive5xxErrors
    @outlierDetection.consecutiveGatewayErrors @outlierDetection.consecutiveLocalOriginFailures
    @outlierDetection.interval @outlierDetection.maxEjectionPercent @outlierDetection.minHealthPercent
    @outlierDetection.splitExternalLocalOriginErrors
    @retryBudget.minRetryConcurrency @retryBudget.percent @tls.subjectAltNames`,
};

/** What may say only what holds anyway, or only some of its words. */
const fixed: Readonly<Record<IstioKind, Readonly<Record<string, readonly unknown[]>>>> = {
  AuthorizationPolicy: { action: ['ALLOW', 'DENY'] },
  PeerAuthentication: {},
  ServiceEntry: { location: ['MESH_INTERNAL'], resolution: ['STATIC', 'DNS'] },
  WorkloadEntry: {},
  VirtualService: {
    'http[].match[].ignoreUriCase': [false],
    'http[].retries.retryRemoteLocalities': [false],
  },
  DestinationRule: {
    '@tls.mode': ['ISTIO_MUTUAL'],
    '@tls.insecureSkipVerify': [false],
    '@loadBalancer.simple': ['UNSPECIFIED', 'LEAST_CONN', 'RANDOM', 'ROUND_ROBIN', 'LEAST_REQUEST'],
    '@connectionPool.http.h2UpgradePolicy': ['DEFAULT', 'DO_NOT_UPGRADE'],
    '@connectionPool.http.useClientProtocol': [false],
  },
};

/** `@` stands for every place where Istio lets a traffic policy be said, except those of single ports. */
function expand(path: string): readonly string[] {
  return path.startsWith('@')
    ? [`trafficPolicy.${path.slice(1)}`, `subsets[].trafficPolicy.${path.slice(1)}`]
    : [path];
}

function isBelow(path: string, top: string): boolean {
  return path === top || (path.startsWith(top) && /^[.[{]/.test(path.slice(top.length)));
}

function supportIn(kind: IstioKind): (path: string) => Support {
  const tops = enforced[kind].trim().split(/\s+/).flatMap(expand);
  const values = new Map(
    Object.entries(fixed[kind]).flatMap(([path, words]) => expand(path).map((one) => [one, words] as const)),
  );
  return (path) => {
    const words = values.get(path);
    if (words !== undefined) return { kind: 'fixed', values: words };
    return { kind: tops.some((top) => isBelow(path, top)) ? 'enforced' : 'refused' };
  };
}

const supports = new Map(istioKinds.map((kind) => [kind, supportIn(kind)]));

/** What becomes of a field. @param path - In `spec`, such as `http[].match[].uri.exact`; of a field, or of what holds some. */
export function supportOf(kind: IstioKind, path: string): Support {
  return supports.get(kind)?.(path) ?? { kind: 'refused' };
}

/** Whether nothing at or below a path is in force. */
export function isRefused(kind: IstioKind, path: string): boolean {
  return fieldRows(kind)
    .filter((row) => isBelow(row.path, path))
    .every((row) => supportOf(kind, row.path).kind === 'refused');
}

/** Every field of a kind with what becomes of it. */
export function supportRows(kind: IstioKind): readonly (FieldRow & { readonly support: Support })[] {
  return fieldRows(kind).map((row) => ({ ...row, support: supportOf(kind, row.path) }));
}
