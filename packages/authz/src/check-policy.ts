import {
  type AuthorizationPolicy,
  isRemovedHeader,
  type Origin,
  type PolicyCondition,
  type PolicyOperation,
  type PolicySource,
} from '@inmesh/core';
import { headerOf } from './condition-tests.js';
import { isBlock } from './ip-blocks.js';
import { isTemplate, templateFault } from './path-template.js';
import { policyInvalid, policyUnsupported } from './policy-fault.js';

type Check = (value: string) => string | undefined;

const anyText: Check = () => undefined;
const port: Check = (value) =>
  /^\d{1,5}$/.test(value) && Number(value) <= 65_535 ? undefined : 'is not a port from 0 to 65535';
const block: Check = (value) => (isBlock(value) ? undefined : 'is not an IP address or CIDR');
const path: Check = (value) => (isTemplate(value) ? templateFault(value) : undefined);
const account: Check = (value) => {
  if (value.length > 320) return 'has more than 320 characters';
  if (value.includes('*')) return 'must not hold a wildcard';
  return /^(?:[^/]+\/)?[^/]+$/.test(value) ? undefined : 'is not ACCOUNT or NAMESPACE/ACCOUNT';
};
const trustDomain: Check = (value) => {
  if (value.includes('/')) return 'is not a trust domain';
  return /^\*?[^*]*$|^[^*]*\*$/.test(value) ? undefined : 'may hold one "*", at one end';
};

const principal: Check = (value) =>
  value.startsWith('spiffe://')
    ? `matches nobody: principals are written without "spiffe://", as ${value.slice('spiffe://'.length)}`
    : undefined;

const sourceChecks: Readonly<Record<string, Check>> = {
  principals: principal,
  namespaces: anyText,
  serviceAccounts: account,
  trustDomains: trustDomain,
  ipBlocks: block,
};
const operationChecks: Readonly<Record<string, Check>> = {
  hosts: anyText,
  ports: port,
  methods: anyText,
  paths: path,
};
const conditionChecks: Readonly<Record<string, Check>> = {
  'source.ip': block,
  'source.principal': principal,
  'source.namespace': anyText,
  'source.serviceAccount': account,
  'source.trustDomain': trustDomain,
  'destination.ip': block,
  'destination.port': port,
  'connection.sni': anyText,
};
/** Those that HTTP/1.1 has as well, by another name. */
const pseudoHeaders: ReadonlySet<string> = new Set([':authority', ':method', ':path']);
/** Keys that Istio knows and we do not enforce yet. */
const unbuilt =
  /^(?:remote\.ip|request\.auth\.(?:principal|audiences|presenter|claims(?:\[[^\]]+\])+)|experimental\..*)$/;

class Checker {
  readonly #policy: string;
  readonly #origin: Origin;

  constructor(policy: string, origin: Origin) {
    this.#policy = policy;
    this.#origin = origin;
  }

  fail(message: string): never {
    throw policyInvalid(this.#origin, this.#policy, message);
  }

  values(field: string, values: readonly string[], check: Check): void {
    if (values.length === 0) this.fail(`"${field}" is empty; leave it out or name something`);
    for (const value of values) {
      const fault = value === '' ? 'must not be empty' : check(value);
      if (fault !== undefined) this.fail(`"${field}": "${value}" ${fault}`);
    }
  }

  fields(owner: PolicySource | PolicyOperation, checks: Readonly<Record<string, Check>>, what: string): void {
    const entries = Object.entries(owner).filter(
      (entry): entry is [string, readonly string[]] => entry[1] !== undefined,
    );
    if (entries.length === 0) this.fail(`"${what}" is empty; leave it out or name something`);
    for (const [field, values] of entries) {
      const positive = field.startsWith('not') ? field.charAt(3).toLowerCase() + field.slice(4) : field;
      const check = checks[positive];
      if (check === undefined) this.fail(`"${field}" is no field of "${what}"`);
      this.values(field, values, check);
    }
  }

  source(source: PolicySource): void {
    this.fields(source, sourceChecks, 'source');
    const names = source.serviceAccounts ?? source.notServiceAccounts;
    const others = source.principals ?? source.notPrincipals ?? source.namespaces ?? source.notNamespaces;
    if (names !== undefined && others !== undefined)
      this.fail('"serviceAccounts" cannot be combined with "principals" or "namespaces"');
    if (names !== undefined && names.length > 16)
      this.fail(`"serviceAccounts" has ${names.length} values, at most 16 are allowed`);
  }

  condition(condition: PolicyCondition): void {
    const { key, values, notValues } = condition;
    const header = headerOf(key);
    if (header?.startsWith(':') && !pseudoHeaders.has(header))
      throw policyUnsupported(this.#origin, this.#policy, key);
    if (header !== undefined && isRemovedHeader(header))
      this.fail(`"${key}" is never there: what a caller could forge is removed before policies see it`);
    const check = header === undefined ? conditionChecks[key] : anyText;
    if (check === undefined) {
      if (unbuilt.test(key)) throw policyUnsupported(this.#origin, this.#policy, key);
      this.fail(`"${key}" is no key of "when"`);
    }
    if (values === undefined && notValues === undefined)
      this.fail(`"${key}" has neither "values" nor "notValues"`);
    if (values !== undefined) this.values(`${key} values`, values, check);
    if (notValues !== undefined) this.values(`${key} notValues`, notValues, check);
  }
}

/**
 * Checks every value of a policy before anything of it is enforced: a rule that cannot be evaluated would be a hole.
 *
 * @throws MeshError `INMESH_ERR_POLICY_INVALID`, `INMESH_ERR_POLICY_UNSUPPORTED`
 */
export function checkPolicy(policy: AuthorizationPolicy): void {
  const name = `${policy.namespace}/${policy.name}`;
  if (policy.action === 'DENY' && policy.rules.length === 0) {
    throw policyInvalid(
      policy.origin,
      name,
      'a DENY policy without rules denies nothing; add a rule, or {} for all',
    );
  }
  for (const rule of policy.rules) {
    const checker = new Checker(name, rule.origin);
    if (rule.from?.length === 0) checker.fail('"from" is empty; leave it out or name a source');
    if (rule.to?.length === 0) checker.fail('"to" is empty; leave it out or name an operation');
    for (const source of rule.from ?? []) checker.source(source);
    for (const operation of rule.to ?? []) checker.fields(operation, operationChecks, 'operation');
    for (const condition of rule.when ?? []) checker.condition(condition);
  }
}
