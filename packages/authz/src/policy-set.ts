import type { AuthorizationPolicy, Headers, RequestFacts, Workload } from '@inmesh/core';
import { checkPolicy } from './check-policy.js';
import { compileClauses, type Decision } from './clause.js';
import { ClauseIndex } from './clause-index.js';
import { exactRouter, isFolding, type RouterEquivalence } from './equivalence.js';
import { originText } from './policy-fault.js';
import { TestInput } from './test-input.js';

/** What {@link compilePolicies} may be told. */
export interface PolicySetOptions {
  /** Namespace whose policies belong to every workload. @defaultValue `istio-system` */
  readonly rootNamespace?: string;
  /** What happens to a call where no ALLOW policy applies. @defaultValue `allow`, as in Istio */
  readonly defaultAction?: 'allow' | 'deny';
  /** Which spellings of a path the router takes for the same route. @defaultValue {@link exactRouter} */
  readonly equivalence?: RouterEquivalence;
  /** Other names of our trust domain. @defaultValue none */
  readonly trustDomainAliases?: readonly string[];
}

/** The policies of one workload, compiled. Immutable. */
export interface PolicySet {
  /** Decides one request. Synchronous; allocates nothing for most. */
  decide(facts: RequestFacts, headers: Headers): Decision;
  /** What an operator should look at: policies that apply to nobody here. */
  readonly warnings: readonly string[];
  /** How many clauses there are. */
  readonly size: number;
  /** Whether an ALLOW policy applies: then whoever none of them names is denied. */
  readonly hasAllow: boolean;
}

function isSelected(policy: AuthorizationPolicy, workload: Workload): boolean {
  return Object.entries(policy.selector).every(([key, value]) => workload.labels[key] === value);
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  return (
    Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(',') || 'none'
  );
}

/** Names that a log shows of one decision. */
const maxNames = 10;

/** What is decided where no clause matches. */
function unmatched(allow: readonly AuthorizationPolicy[], defaultAction: 'allow' | 'deny'): Decision {
  const none = { policy: '', rule: -1, origin: undefined } as const;
  if (allow.length === 0)
    return Object.freeze({
      ...none,
      isAllowed: defaultAction === 'allow',
      reason: `no ALLOW policy applies; the default is ${defaultAction}`,
    });
  const names = allow.slice(0, maxNames).map(({ namespace, name }) => `${namespace}/${name}`);
  const more = allow.length - names.length;
  return Object.freeze({
    ...none,
    isAllowed: false,
    reason: 'no ALLOW policy matches',
    allowPolicies: Object.freeze(more === 0 ? names : [...names, `and ${more} more`]),
  });
}

class CompiledPolicies implements PolicySet {
  readonly warnings: readonly string[];
  readonly size: number;
  readonly hasAllow: boolean;
  readonly #deny: ClauseIndex;
  readonly #allow: ClauseIndex;
  readonly #otherwise: Decision;
  readonly #input: TestInput;

  constructor(policies: readonly AuthorizationPolicy[], workload: Workload, options: PolicySetOptions) {
    const {
      rootNamespace = 'istio-system',
      defaultAction = 'allow',
      equivalence = exactRouter,
      trustDomainAliases = [],
    } = options;
    for (const policy of policies) checkPolicy(policy);
    const inScope = policies.filter(
      ({ namespace }) => namespace === rootNamespace || namespace === workload.namespace,
    );
    const applied = inScope.filter((policy) => isSelected(policy, workload));
    const trust = { trustDomain: workload.trustDomain, aliases: trustDomainAliases };
    const clauses = (action: AuthorizationPolicy['action']): ClauseIndex =>
      new ClauseIndex(
        applied
          .filter((policy) => policy.action === action)
          .flatMap((policy) => compileClauses(policy, trust, equivalence)),
        action === 'DENY' && isFolding(equivalence),
      );
    this.#deny = clauses('DENY');
    this.#allow = clauses('ALLOW');
    this.#input = new TestInput(equivalence);
    this.size = this.#deny.size + this.#allow.size;
    const allow = applied.filter((policy) => policy.action === 'ALLOW');
    this.hasAllow = allow.length > 0;
    this.#otherwise = unmatched(allow, defaultAction);
    this.warnings = policies
      .filter((policy) => !applied.includes(policy))
      // Of an ALLOW that is meant for others there is nothing to say, unless for want of one everybody is let in.
      .filter(({ action }) => action === 'DENY' || (!this.hasAllow && defaultAction === 'allow'))
      .map((policy) => {
        const why = inScope.includes(policy)
          ? `its selector ${labelsText(policy.selector)} does not select this workload (labels ${labelsText(workload.labels)})`
          : `it belongs to namespace ${policy.namespace}, this workload to ${workload.namespace}`;
        return `${originText(policy.origin)}: ${policy.action} policy ${policy.namespace}/${policy.name} has no effect here: ${why}`;
      });
  }

  decide(facts: RequestFacts, headers: Headers): Decision {
    const input = this.#input;
    input.fill(facts, headers);
    const denied = this.#deny.size === 0 ? undefined : this.#deny.find(input);
    return (denied ?? this.#allow.find(input))?.decision ?? this.#otherwise;
  }
}

/**
 * Selects the policies of `workload`, checks and compiles them: DENY before ALLOW, as in Istio.
 *
 * @throws MeshError `INMESH_ERR_POLICY_INVALID`, `INMESH_ERR_POLICY_UNSUPPORTED`; then nothing of the set is in force.
 */
export function compilePolicies(
  policies: readonly AuthorizationPolicy[],
  workload: Workload,
  options: PolicySetOptions = {},
): PolicySet {
  return new CompiledPolicies(policies, workload, options);
}
