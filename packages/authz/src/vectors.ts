import {
  type AuthorizationPolicy,
  type ConnectionFacts,
  FlatHeaders,
  isMeshError,
  type PeerIdentity,
  parseSpiffeId,
  type RequestFacts,
  type Workload,
} from '@inmesh/core';
import { normalizeTarget, type PathNormalization, pathOf } from './normalize.js';
import { compilePolicies } from './policy-set.js';
import { expandPrincipals } from './principals.js';

/** A vector file, read. */
export interface VectorFile {
  /** Name for the report. */
  readonly name: string;
  /** Its JSON text. */
  readonly text: string;
}

/** Reads one AuthorizationPolicy of Istio, as JSON. */
export type ParsePolicy = (json: unknown, namespace: string) => AuthorizationPolicy;

/** What came of the vectors. */
export interface VectorReport {
  /** Cases that came out as expected. */
  readonly passed: number;
  /** Cases that did not. */
  readonly failed: number;
  /** Cases that use something this version does not build. */
  readonly skipped: number;
  /** One line per failure and skip. */
  readonly lines: readonly string[];
}

interface Case {
  readonly id: string;
  readonly kind?: string;
  readonly policySet?: string;
  readonly mesh?: {
    readonly trustDomain: string;
    readonly trustDomainAliases?: string[];
    readonly rootNamespace: string;
    readonly pathNormalization?: PathNormalization;
  };
  readonly workload?: { readonly namespace: string; readonly labels: Record<string, string> };
  readonly request?: {
    readonly protocol?: string;
    readonly tokens?: unknown;
    readonly connection: {
      readonly sourceIp: string;
      readonly destinationIp: string;
      readonly destinationPort: number;
      readonly sni: string;
      readonly tls: { readonly peerUriSans: string[] } | null;
    };
    readonly http?: {
      readonly method: string;
      readonly path: string;
      readonly authority: string;
      readonly headers: [string, string][];
    };
  };
  readonly input?: {
    readonly mode?: PathNormalization | 'MATCH_ONLY';
    readonly requestTarget?: string;
    readonly principals?: string[];
    readonly trustDomain?: string;
    readonly aliases?: string[];
    readonly when?: unknown;
    readonly wildcardValues?: string[];
    readonly source?: unknown;
    readonly operation?: unknown;
    readonly authorizationPolicy?: Record<string, unknown>;
  };
  readonly authorizationPolicy?: unknown;
  readonly authorization?: { readonly action?: string };
  readonly connection?: {
    readonly src: string;
    readonly dst: string;
    readonly identity?: {
      readonly trustDomain: string;
      readonly namespace: string;
      readonly serviceAccount: string;
    } | null;
  };
  readonly expected: {
    readonly decision?: string;
    readonly status?: number | string;
    readonly path?: string;
    readonly matchPath?: string;
    readonly principals?: string[];
    readonly valid?: boolean;
    readonly warning?: boolean;
  };
}

/** What a case came to: equal texts pass. */
type Outcome = { readonly got: string; readonly want: string } | { readonly skip: string };

const testWorkload: Workload = {
  service: 'test',
  namespace: 'test',
  trustDomain: 'cluster.local',
  labels: {},
};

function peerOf(uri: string): PeerIdentity {
  return {
    id: parseSpiffeId(uri),
    notAfterMs: Number.MAX_SAFE_INTEGER,
    fingerprint: '',
    serial: '',
    trustEpoch: 0,
  };
}

function connectionOf(connection: NonNullable<Case['request']>['connection']): ConnectionFacts {
  const { sourceIp, destinationIp, destinationPort, sni, tls } = connection;
  const [san] = tls?.peerUriSans ?? [];
  return {
    peer: san === undefined ? undefined : peerOf(san),
    isEncrypted: tls !== null,
    remoteIp: sourceIp,
    remotePort: 40_000,
    localIp: destinationIp,
    localPort: destinationPort,
    sni,
  };
}

function decide(test: Case, policySets: Readonly<Record<string, unknown[]>>, parse: ParsePolicy): Outcome {
  const { request, workload, mesh, expected } = test;
  if (request === undefined || workload === undefined || mesh === undefined)
    return { skip: 'a case without request' };
  const policies = (policySets[test.policySet ?? ''] ?? []).map((json) => parse(json, workload.namespace));
  if (request.http === undefined) return { skip: 'protocol: tcp' };
  const want = `${expected.decision ?? ''} ${expected.status === 400 ? 400 : ''}`;
  const target = normalizeTarget(request.http.path, mesh.pathNormalization ?? 'BASE');
  if (target === undefined) return { got: 'deny 400', want };
  const connection = connectionOf(request.connection);
  const facts: RequestFacts = {
    method: request.http.method,
    path: pathOf(target),
    authority: request.http.authority.toLowerCase(),
    connection,
  };
  const set = compilePolicies(
    policies,
    {
      service: 'test',
      namespace: workload.namespace,
      trustDomain: mesh.trustDomain,
      labels: workload.labels,
    },
    {
      rootNamespace: mesh.rootNamespace,
      trustDomainAliases: mesh.trustDomainAliases ?? [],
    },
  );
  const decision = set.decide(facts, new FlatHeaders(request.http.headers.flat()));
  return { got: `${decision.isAllowed ? 'allow' : 'deny'} `, want };
}

function normalize({ input, expected }: Case): Outcome {
  const target = input?.requestTarget ?? '';
  if (input?.mode === 'MATCH_ONLY') return { got: pathOf(target), want: expected.matchPath ?? '' };
  return {
    got: normalizeTarget(target, input?.mode ?? 'BASE') ?? '400',
    want: expected.path ?? String(expected.status),
  };
}

function ruleOf(input: Case['input'] = {}): object {
  const { wildcardValues, when, source, operation } = input;
  if (wildcardValues !== undefined) return { from: [{ source: { principals: wildcardValues } }] };
  return {
    ...(when === undefined ? {} : { when: [when] }),
    ...(source === undefined ? {} : { from: [{ source }] }),
    ...(operation === undefined ? {} : { to: [{ operation }] }),
  };
}

function validate({ input, expected }: Case, parse: ParsePolicy): Outcome {
  if (expected.warning === true) return { skip: 'warnings about protocol: tcp' };
  const json = input?.authorizationPolicy ?? { spec: { rules: [ruleOf(input)] } };
  const metadata = { name: 'test', ...(json as { readonly metadata?: object }).metadata };
  const want = expected.valid === true ? 'valid' : 'invalid';
  try {
    compilePolicies([parse({ ...json, metadata }, 'test')], testWorkload);
    return { got: 'valid', want };
  } catch (error) {
    if (isMeshError(error) && error.code === 'INMESH_ERR_POLICY_INVALID') return { got: 'invalid', want };
    throw error;
  }
}

function decideZtunnel(test: Case, parse: ParsePolicy): Outcome {
  const { connection, authorizationPolicy, expected } = test;
  if (authorizationPolicy === undefined || connection === undefined) return { skip: 'ztunnel stringMatch' };
  const split = (address: string): [string, number] => [
    address.slice(0, address.lastIndexOf(':')),
    Number(address.slice(address.lastIndexOf(':') + 1)),
  ];
  const [remoteIp, remotePort] = split(connection.src);
  const [localIp, localPort] = split(connection.dst);
  const { identity } = connection;
  const policy = parse({ metadata: { name: 'test' }, spec: authorizationPolicy }, 'test');
  const decision = compilePolicies([policy], testWorkload).decide(
    {
      method: 'GET',
      path: '/',
      authority: '',
      connection: {
        peer: identity
          ? peerOf(`spiffe://${identity.trustDomain}/ns/${identity.namespace}/sa/${identity.serviceAccount}`)
          : undefined,
        isEncrypted: Boolean(identity),
        remoteIp,
        remotePort,
        localIp,
        localPort,
        sni: '',
      },
    },
    new FlatHeaders([]),
  );
  return { got: decision.isAllowed ? 'allow' : 'deny', want: expected.decision ?? '' };
}

function run(test: Case, policySets: Readonly<Record<string, unknown[]>>, parse: ParsePolicy): Outcome {
  const { input } = test;
  if (test.kind !== undefined) return { skip: `gRPC authorization (${test.kind})` };
  if (test.request?.tokens !== undefined) return { skip: 'RequestAuthentication' };
  if (input?.requestTarget !== undefined) return normalize(test);
  if (input?.principals !== undefined) {
    const got = expandPrincipals(input.principals, input.trustDomain ?? '', input.aliases ?? []);
    const order = (list: readonly string[]): string => [...list].sort((a, b) => a.localeCompare(b)).join();
    return { got: order(got), want: order(test.expected.principals ?? []) };
  }
  if (input !== undefined) return validate(test, parse);
  return test.connection === undefined && test.authorization === undefined && test.request !== undefined
    ? decide(test, policySets, parse)
    : decideZtunnel(test, parse);
}

/** Some suites use names that no certificate of ours could carry: their workload cannot exist here. */
const noIdentity = 'a peer whose name is not a SPIFFE ID';

function attempt(test: Case, policySets: Readonly<Record<string, unknown[]>>, parse: ParsePolicy): Outcome {
  try {
    return run(test, policySets, parse);
  } catch (error) {
    if (isMeshError(error) && error.code === 'INMESH_ERR_POLICY_UNSUPPORTED')
      return { skip: String(error.details['field']) };
    if (isMeshError(error) && error.code === 'INMESH_ERR_SPIFFE_ID_INVALID') return { skip: noIdentity };
    return { got: error instanceof Error ? error.message : String(error), want: 'no error' };
  }
}

/**
 * Runs acceptance vectors of authorization: files of cases with policies, requests and expected decisions.
 *
 * @param parse - Reads a policy the way configuration does, so that the vectors prove both.
 */
export function runVectors(files: readonly VectorFile[], parse: ParsePolicy): VectorReport {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const lines: string[] = [];
  for (const { name, text } of files) {
    const { cases, policySets = {} } = JSON.parse(text) as {
      readonly cases: Case[];
      readonly policySets?: Record<string, unknown[]>;
    };
    for (const test of cases) {
      const outcome = attempt(test, policySets, parse);
      if ('skip' in outcome) {
        counts.skipped++;
        lines.push(`SKIP ${name} ${test.id}: not built: ${outcome.skip}`);
      } else if (outcome.got === outcome.want) counts.passed++;
      else {
        counts.failed++;
        lines.push(`FAIL ${name} ${test.id}: got "${outcome.got}", expected "${outcome.want}"`);
      }
    }
  }
  return { ...counts, lines };
}
