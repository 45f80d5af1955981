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
  readonly principals?: readonly string[] | undefined;
  /** Negation of `principals`. */
  readonly notPrincipals?: readonly string[] | undefined;
  /** Namespaces, `*` anywhere. */
  readonly namespaces?: readonly string[] | undefined;
  /** Negation of `namespaces`. */
  readonly notNamespaces?: readonly string[] | undefined;
  /** `namespace/account` or `account` of the policy's namespace. */
  readonly serviceAccounts?: readonly string[] | undefined;
  /** Negation of `serviceAccounts`. */
  readonly notServiceAccounts?: readonly string[] | undefined;
  /** Trust domains, `*` at one end. */
  readonly trustDomains?: readonly string[] | undefined;
  /** Negation of `trustDomains`. */
  readonly notTrustDomains?: readonly string[] | undefined;
  /** Addresses or CIDRs of the TCP peer. */
  readonly ipBlocks?: readonly string[] | undefined;
  /** Negation of `ipBlocks`. */
  readonly notIpBlocks?: readonly string[] | undefined;
}

/** What is asked for. Istio `AuthorizationPolicy.spec.rules[].to[].operation`. */
export interface PolicyOperation {
  /** Authorities, port included. */
  readonly hosts?: readonly string[] | undefined;
  /** Negation of `hosts`. */
  readonly notHosts?: readonly string[] | undefined;
  /** Workload ports. */
  readonly ports?: readonly string[] | undefined;
  /** Negation of `ports`. */
  readonly notPorts?: readonly string[] | undefined;
  /** Methods, case-sensitive. */
  readonly methods?: readonly string[] | undefined;
  /** Negation of `methods`. */
  readonly notMethods?: readonly string[] | undefined;
  /** Paths: exact, prefix, suffix or template. */
  readonly paths?: readonly string[] | undefined;
  /** Negation of `paths`. */
  readonly notPaths?: readonly string[] | undefined;
}

/** A further condition. Istio `AuthorizationPolicy.spec.rules[].when[]`. */
export interface PolicyCondition {
  /** Attribute, such as `request.headers[x-team]`. */
  readonly key: string;
  /** Values, ORed. */
  readonly values?: readonly string[] | undefined;
  /** Negation of `values`. */
  readonly notValues?: readonly string[] | undefined;
}

/** One rule of a policy. */
export interface PolicyRule {
  /** ORed. */
  readonly from?: readonly PolicySource[] | undefined;
  /** ORed. */
  readonly to?: readonly PolicyOperation[] | undefined;
  /** ANDed. */
  readonly when?: readonly PolicyCondition[] | undefined;
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
