import type { AuthorizationPolicy, Cluster, MtlsMode } from '@inmesh/core';
import {
  choice,
  dnsLabel,
  duration,
  filePath,
  flag,
  integer,
  type Kind,
  labelsKind,
  pathsKind,
  trustDomainKind,
} from './kinds.js';

/** Everything that is configured, after defaults. Frozen. Durations in milliseconds. */
export interface MeshConfig {
  /** Own service name. */
  readonly serviceName: string;
  /** Own namespace. */
  readonly namespace: string;
  /** Own trust domain. */
  readonly trustDomain: string;
  /** Labels that policies select this workload by. */
  readonly labels: Readonly<Record<string, string>>;
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
  /** Clusters by name. */
  readonly upstreams: ReadonlyMap<string, Cluster>;
  /** The ALLOW policy of `INMESH_ALLOW`. */
  readonly allow: AuthorizationPolicy | undefined;
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
  /** Whether plain HTTP over HTTP/2 reaches the application. */
  readonly http2: boolean;
  /** How long a closing listener still accepts. */
  readonly drainDelay: number;
  /** How long calls in flight may take to end when closing. */
  readonly drainTimeout: number;
  /** What is logged. */
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'off';
}

/** Keys of {@link MeshConfig} that one variable sets. */
export type SettingKey = Exclude<keyof MeshConfig, 'upstreams' | 'allow'>;

/** One setting. */
export interface Setting<K extends SettingKey = SettingKey> {
  /** Name in code. */
  readonly key: K;
  /** Name in the environment. */
  readonly variable: string;
  /** How it is written. */
  readonly kind: Kind<NonNullable<MeshConfig[K]>>;
  /** Default; `undefined` where there is none or it depends on others. */
  readonly fallback: MeshConfig[K] | undefined;
  /** Default as text for the reference. */
  readonly fallbackText: string;
  /** Whether an empty variable is an error and not the same as none: it guards something. */
  readonly isGuard: boolean;
  /** One sentence for the reference. */
  readonly text: string;
}

function setting<K extends SettingKey>(
  key: K,
  variable: string,
  kind: Kind<NonNullable<MeshConfig[K]>>,
  fallback: MeshConfig[K] | undefined,
  text: string,
  more: { readonly fallbackText?: string; readonly isGuard?: boolean } = {},
): Setting<K> {
  const printed = fallback === undefined ? '' : kind.print(fallback);
  return {
    key,
    variable: `INMESH_${variable}`,
    kind,
    fallback,
    fallbackText: more.fallbackText ?? printed,
    isGuard: more.isGuard ?? false,
    text,
  };
}

const hourMs = 3_600_000;
const guard = { isGuard: true } as const;

/** Every setting that one variable sets, in the order of the reference. */
export const settings = Object.freeze([
  setting('serviceName', 'SERVICE_NAME', dnsLabel, undefined, 'Name of this service.', {
    fallbackText: '`OTEL_SERVICE_NAME`, or the name in `package.json`',
  }),
  setting('namespace', 'NAMESPACE', dnsLabel, 'default', 'Namespace of this service.'),
  setting('trustDomain', 'TRUST_DOMAIN', trustDomainKind, 'dev.local', 'Trust domain of its identity.'),
  setting('labels', 'LABELS', labelsKind, undefined, 'Labels that policies select this workload by.', {
    fallbackText: '`app=<service name>`',
  }),
  setting(
    'mtls',
    'MTLS',
    choice('strict', 'permissive', 'disable'),
    'strict',
    'What listeners accept: mTLS alone, also plaintext, or plaintext alone.',
    guard,
  ),
  setting(
    'identity',
    'IDENTITY',
    choice('auto', 'dev', 'files'),
    'auto',
    'Where the identity comes from. `auto`: files if configured, else the dev CA, which refuses production; `dev`: the dev CA, also in production.',
    guard,
  ),
  setting('certFile', 'CERT_FILE', filePath, undefined, 'PEM certificate chain, leaf first.'),
  setting('keyFile', 'KEY_FILE', filePath, undefined, 'PEM private key.'),
  setting('caFile', 'CA_FILE', filePath, undefined, 'PEM trust bundle.'),
  setting('devCaDir', 'DEV_CA_DIR', filePath, undefined, 'Directory of the dev CA.', {
    fallbackText: '`$XDG_STATE_HOME/inmesh/dev-ca`',
  }),
  setting(
    'devCaTtl',
    'DEV_CA_TTL',
    duration(3000, 24 * hourMs),
    hourMs,
    'Life of a certificate of the dev CA; renewed at half of it.',
  ),
  setting(
    'startupTimeout',
    'STARTUP_TIMEOUT',
    duration(1, hourMs),
    30_000,
    'Longest wait for an identity and policies at start.',
  ),
  setting(
    'authzDefault',
    'AUTHZ_DEFAULT',
    choice('allow', 'deny'),
    'allow',
    'What happens to a call where no ALLOW policy applies.',
    guard,
  ),
  setting(
    'policyDir',
    'POLICY_DIR',
    filePath,
    undefined,
    'Directory of AuthorizationPolicy files, read again on change.',
    guard,
  ),
  setting(
    'pathNormalization',
    'PATH_NORMALIZATION',
    choice('REJECT_ESCAPED_SLASHES', 'NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'),
    'REJECT_ESCAPED_SLASHES',
    'How request paths are normalized before policies and handlers see them.',
    guard,
  ),
  setting(
    'probePaths',
    'PROBE_PATHS',
    pathsKind,
    Object.freeze([]),
    'Paths that a plaintext GET reaches although mTLS is strict.',
    { fallbackText: 'none' },
  ),
  setting(
    'sniffTimeout',
    'SNIFF_TIMEOUT',
    duration(10, 60_000),
    3000,
    'Longest wait for the first byte of a connection.',
  ),
  setting(
    'handshakeTimeout',
    'HANDSHAKE_TIMEOUT',
    duration(10, 60_000),
    5000,
    'Longest TLS handshake of an inbound connection.',
  ),
  setting(
    'headersTimeout',
    'HEADERS_TIMEOUT',
    duration(10, hourMs),
    60_000,
    'Longest wait for the head of an HTTP/1.1 request.',
  ),
  setting(
    'connectTimeout',
    'CONNECT_TIMEOUT',
    duration(10, 120_000),
    10_000,
    'Longest wait for an outbound connection, TLS included.',
  ),
  setting(
    'maxConnections',
    'MAX_CONNECTIONS',
    integer(1, 1_000_000),
    10_000,
    'Connections of one listener; further ones are cut.',
  ),
  setting(
    'maxHandshakes',
    'MAX_HANDSHAKES',
    integer(1, 100_000),
    256,
    'TLS handshakes of one listener under way; further connections are cut.',
  ),
  setting(
    'poolSize',
    'POOL_SIZE',
    integer(1, 10_000),
    64,
    'Connections to one endpoint; further requests wait.',
  ),
  setting(
    'http2',
    'HTTP2',
    flag,
    false,
    'Whether plain HTTP over HTTP/2 reaches the application, where its framework can.',
  ),
  setting(
    'drainDelay',
    'DRAIN_DELAY',
    duration(0, hourMs),
    5000,
    'How long a closing listener still accepts connections.',
  ),
  setting(
    'drainTimeout',
    'DRAIN_TIMEOUT',
    duration(0, 24 * hourMs),
    25_000,
    'How long calls in flight may take to end when closing.',
  ),
  setting(
    'logLevel',
    'LOG_LEVEL',
    choice('debug', 'info', 'warn', 'error', 'off'),
    'info',
    'What is written to stderr, as JSON lines.',
  ),
] as const satisfies readonly Setting[]) as readonly Setting[];

/** A variable that is not a plain setting. */
export interface SpecialVariable {
  /** Its name, with a placeholder. */
  readonly variable: string;
  /** How it is written. */
  readonly kind: string;
  /** One sentence for the reference. */
  readonly text: string;
}

/** Variables that are not plain settings, for the reference. */
export const specialVariables: readonly SpecialVariable[] = Object.freeze([
  {
    variable: 'INMESH_UPSTREAM_<NAME>',
    kind: '`host:port,…`',
    text: 'Endpoints of the service NAME; `_` stands for `-`, `__` separates a namespace: `INMESH_UPSTREAM_ORDER_DB__BILLING` is `order-db.billing`.',
  },
  {
    variable: 'INMESH_UPSTREAM_<NAME>_IDENTITY',
    kind: '`spiffe://…,…` or `account` or `namespace/account`',
    text: 'Identities that the endpoints of NAME may have. Default: `spiffe://<trust domain>/ns/<namespace>/sa/<name>`.',
  },
  {
    variable: 'INMESH_ALLOW',
    kind: '`account`, `namespace/account`, `spiffe://…`, `*`; separated by commas',
    text: 'Callers that are allowed: one more ALLOW policy.',
  },
]);

/** The tables of `docs/reference/configuration.md`. */
export function renderSettingsMarkdown(): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = settings.map(({ variable, key, kind, fallbackText, text }) => {
    const shown =
      fallbackText.includes('`') || fallbackText === 'none' || fallbackText === ''
        ? fallbackText
        : `\`${fallbackText}\``;
    return `| \`${variable}\` | \`${key}\` | ${cell(kind.name)} | ${shown} | ${cell(text)} |`;
  });
  const special = specialVariables.map(
    ({ variable, kind, text }) => `| \`${variable}\` | ${cell(kind)} | ${cell(text)} |`,
  );
  return [
    '| Variable | In code | Values | Default | Meaning |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    '| Variable | Values | Meaning |',
    '|---|---|---|',
    ...special,
    '',
  ].join('\n');
}
