/** Where something stands in a configuration. */
export interface Origin {
  /** File, or `INMESH_ALLOW`, or `code`. */
  readonly source: string;
  /** Line, from 1; 0 if there is none. */
  readonly line: number;
  /** Column, from 1; 0 if there is none. */
  readonly column: number;
}

/**
 * Who sends: fields are ANDed, values of a field ORed, `not…` is the negation of the OR.
 * Istio `AuthorizationPolicy.spec.rules[].from[].source`.
 */
export interface PolicySource {
  /** SPIFFE IDs without `spiffe://`, with `*` at one end. */
  readonly principals?: readonly string[];
  /** Negation of `principals`. */
  readonly notPrincipals?: readonly string[];
  /** Namespaces, `*` anywhere. */
  readonly namespaces?: readonly string[];
  /** Negation of `namespaces`. */
  readonly notNamespaces?: readonly string[];
  /** `namespace/account` or `account` of the policy's namespace. */
  readonly serviceAccounts?: readonly string[];
  /** Negation of `serviceAccounts`. */
  readonly notServiceAccounts?: readonly string[];
  /** Trust domains, `*` at one end. */
  readonly trustDomains?: readonly string[];
  /** Negation of `trustDomains`. */
  readonly notTrustDomains?: readonly string[];
  /** Addresses or CIDRs of the TCP peer. */
  readonly ipBlocks?: readonly string[];
  /** Negation of `ipBlocks`. */
  readonly notIpBlocks?: readonly string[];
}

/** What is asked for. Istio `AuthorizationPolicy.spec.rules[].to[].operation`. */
export interface PolicyOperation {
  /** Authorities, port included. */
  readonly hosts?: readonly string[];
  /** Negation of `hosts`. */
  readonly notHosts?: readonly string[];
  /** Workload ports. */
  readonly ports?: readonly string[];
  /** Negation of `ports`. */
  readonly notPorts?: readonly string[];
  /** Methods, case-sensitive. */
  readonly methods?: readonly string[];
  /** Negation of `methods`. */
  readonly notMethods?: readonly string[];
  /** Paths: exact, prefix, suffix or template. */
  readonly paths?: readonly string[];
  /** Negation of `paths`. */
  readonly notPaths?: readonly string[];
}

/** A further condition. Istio `AuthorizationPolicy.spec.rules[].when[]`. */
export interface PolicyCondition {
  /** Attribute, such as `request.headers[x-team]`. */
  readonly key: string;
  /** Values, ORed. */
  readonly values?: readonly string[];
  /** Negation of `values`. */
  readonly notValues?: readonly string[];
}

/** One rule of a policy. */
export interface PolicyRule {
  /** ORed. */
  readonly from?: readonly PolicySource[];
  /** ORed. */
  readonly to?: readonly PolicyOperation[];
  /** ANDed. */
  readonly when?: readonly PolicyCondition[];
  /** Where it stands. */
  readonly origin: Origin;
}

/** What a policy does when a rule matches. */
export type PolicyAction = 'ALLOW' | 'DENY';

/** Istio's `AuthorizationPolicy`, as read from YAML, the environment or code. */
export interface AuthorizationPolicy {
  /** Name, unique in its namespace. */
  readonly name: string;
  /** Namespace; a policy of the root namespace belongs to every workload. */
  readonly namespace: string;
  /** What it does. */
  readonly action: PolicyAction;
  /** Labels a workload must have; empty selects all. */
  readonly selector: Readonly<Record<string, string>>;
  /** ORed; none match nothing. */
  readonly rules: readonly PolicyRule[];
  /** Where it stands. */
  readonly origin: Origin;
}
