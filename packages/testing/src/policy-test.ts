import { compilePolicies, normalizeTarget } from '@inmesh/authz';
import { parsePolicies, parsePolicyObject } from '@inmesh/config/policies';
import {
  type AuthorizationPolicy,
  FlatHeaders,
  type Origin,
  parseSpiffeId,
  unknownConnection,
} from '@inmesh/core';

/** A request that policies decide on. */
export interface PolicyRequest {
  /** Who makes it: `account`, `namespace/account`, or a SPIFFE ID. @defaultValue nobody: plaintext */
  readonly from?: string;
  /** Its method. @defaultValue GET */
  readonly method?: string;
  /** Its target, query and all; for gRPC `/package.Service/Method`. @defaultValue / */
  readonly path?: string;
  /** Its host. @defaultValue the service */
  readonly host?: string;
  /** Its headers. @defaultValue none */
  readonly headers?: Readonly<Record<string, string>>;
  /** Port that it came to. @defaultValue 80 */
  readonly port?: number;
  /** Address that it came from. @defaultValue 127.0.0.1 */
  readonly ip?: string;
}

/** What {@link createPolicyTest} is told. */
export interface PolicyTestOptions {
  /** YAML of `AuthorizationPolicy` documents, or such objects. */
  readonly policies: string | readonly unknown[];
  /** Name of the YAML, for the places of rules. @defaultValue policies.yaml */
  readonly file?: string;
  /** The service that is called. @defaultValue service */
  readonly service?: string;
  /** Its namespace. @defaultValue default */
  readonly namespace?: string;
  /** Its trust domain. @defaultValue dev.local */
  readonly trustDomain?: string;
  /** Its labels. @defaultValue `app` is the service */
  readonly labels?: Readonly<Record<string, string>>;
  /** What happens where no ALLOW policy applies. @defaultValue allow */
  readonly authzDefault?: 'allow' | 'deny';
}

/** What was decided, and by which rule. */
export interface PolicyDecision {
  /** Whether the request may go on. */
  readonly isAllowed: boolean;
  /** `namespace/name` of the policy; empty if none matched. */
  readonly policy: string;
  /** Index of its rule; -1 if none matched. */
  readonly rule: number;
  /** Where the rule stands. */
  readonly origin: Origin | undefined;
  /** Why, in words. */
  readonly reason: string;
}

/** Policies as a server decides by them, without a server. */
export interface PolicyTest {
  /** Decides a request. @throws Error if its path could not reach a handler */
  decide(request?: PolicyRequest): PolicyDecision;
}

function read(
  policies: PolicyTestOptions['policies'],
  file: string,
  namespace: string,
): readonly AuthorizationPolicy[] {
  return typeof policies === 'string'
    ? parsePolicies(policies, file, { namespace })
    : policies.map((json, i) => parsePolicyObject(json, `policies[${i}]`, { namespace }));
}

/**
 * Compiles policies as a server of `service` does.
 *
 * @throws MeshError `INMESH_ERR_POLICY_INVALID`, `INMESH_ERR_POLICY_UNSUPPORTED`
 */
export function createPolicyTest({
  policies,
  file = 'policies.yaml',
  service = 'service',
  namespace = 'default',
  trustDomain = 'dev.local',
  labels = { app: service },
  authzDefault = 'allow',
}: PolicyTestOptions): PolicyTest {
  const workload = { service, namespace, trustDomain, labels };
  const set = compilePolicies(read(policies, file, namespace), workload, { defaultAction: authzDefault });
  const idOf = (from: string): string => {
    if (from.startsWith('spiffe://')) return from;
    const [account = '', of = namespace] = from.split('/').toReversed();
    return `spiffe://${trustDomain}/ns/${of}/sa/${account}`;
  };
  return {
    decide({
      from,
      method = 'GET',
      path = '/',
      host = service,
      headers = {},
      port = 80,
      ip = '127.0.0.1',
    } = {}) {
      const target = normalizeTarget(path, 'REJECT_ESCAPED_SLASHES');
      if (target === undefined)
        throw new Error(`a request for ${path} is answered with 400 before policies see it`);
      const [plain = ''] = target.split('?');
      const peer =
        from === undefined
          ? undefined
          : {
              id: parseSpiffeId(idOf(from)),
              notAfterMs: Number.POSITIVE_INFINITY,
              fingerprint: '',
              serial: '',
              trustEpoch: 0,
            };
      return set.decide(
        {
          method,
          path: plain,
          authority: host.toLowerCase(),
          connection: {
            ...unknownConnection,
            peer,
            isEncrypted: peer !== undefined,
            remoteIp: ip,
            localPort: port,
          },
        },
        new FlatHeaders(Object.entries(headers).flat()),
      );
    },
  };
}

/** What a matcher of vitest and Jest answers. */
export interface MatcherResult {
  /** Whether it holds. */
  readonly pass: boolean;
  /** What is said if it does not, or, after `not`, does. */
  readonly message: () => string;
}

function place({ policy, rule, origin, reason }: PolicyDecision): string {
  const at = origin === undefined || origin.line === 0 ? '' : ` at ${origin.source}:${origin.line}`;
  return policy === '' ? reason : `${policy}, rule ${rule}${at}: ${reason}`;
}

function judge(decision: PolicyDecision, wanted: boolean, by: string | undefined): MatcherResult {
  const isBy = by === undefined || decision.policy === by || decision.policy.endsWith(`/${by}`);
  const verb = (isAllowed: boolean): string => (isAllowed ? 'allowed' : 'denied');
  return {
    pass: decision.isAllowed === wanted && isBy,
    message: () =>
      `expected the request to be ${verb(wanted)}${by === undefined ? '' : ` by ${by}`}; it is ${verb(decision.isAllowed)} (${place(decision)})`,
  };
}

/** Matchers for `expect.extend` of vitest or Jest: `toBeAllowed(by?)` and `toBeDenied(by?)` on a {@link PolicyDecision}. */
export const policyMatchers = Object.freeze({
  /** It is allowed. */
  toBeAllowed: (decision: PolicyDecision, by?: string): MatcherResult => judge(decision, true, by),
  /** It is denied. */
  toBeDenied: (decision: PolicyDecision, by?: string): MatcherResult => judge(decision, false, by),
});

/** As `toBeAllowed`, for node:test and others. @param by - Name of the policy. @throws Error unless it holds */
export function assertAllowed(decision: PolicyDecision, by?: string): void {
  const { pass, message } = policyMatchers.toBeAllowed(decision, by);
  if (!pass) throw new Error(message());
}

/** As `toBeDenied`, for node:test and others. @param by - Name of the policy. @throws Error unless it holds */
export function assertDenied(decision: PolicyDecision, by?: string): void {
  const { pass, message } = policyMatchers.toBeDenied(decision, by);
  if (!pass) throw new Error(message());
}
