import type { AuthorizationPolicy, Origin, PolicyOperation, PolicyRule, PolicySource } from '@inmesh/core';
import { conditionTests } from './condition-tests.js';
import { foldLiteral, type RouterEquivalence, spellingKey } from './equivalence.js';
import { operationTests } from './operation-tests.js';
import { fixedHead, isExactPath } from './path-pattern.js';
import { expandPrincipals } from './principals.js';
import { type SourceScope, sourceTests } from './source-tests.js';
import { patternKind } from './string-match.js';
import type { Test, TestInput } from './test-input.js';

/** What was decided and which rule did. One object per clause, made when policies are compiled. Frozen. */
export interface Decision {
  /** Whether the call may go on. */
  readonly isAllowed: boolean;
  /** `namespace/name` of the policy; empty where none decided. */
  readonly policy: string;
  /** Index of its rule; -1 where none decided. */
  readonly rule: number;
  /** Where the rule stands. */
  readonly origin: Origin | undefined;
  /** One sentence for logs. Never for the caller. */
  readonly reason: string;
  /** ALLOW policies that apply, where none of them matches: at most 10, and how many more. */
  readonly allowPolicies?: readonly string[];
}

/** Where a clause can be filed: the first that is not `undefined` is used. Nobody needs them once it is. */
interface ClauseKeys {
  /** Every path it can match. */
  readonly paths: readonly string[] | undefined;
  /** First segment of every path it can match. */
  readonly segments: readonly string[] | undefined;
  /** Every principal it can match. */
  readonly principals: readonly string[] | undefined;
  /** Every namespace it can match. */
  readonly namespaces: readonly string[] | undefined;
}

/** One source with one operation of one rule. */
export interface Clause {
  /** What it decides. */
  readonly decision: Decision;
  /** Whether it matches. */
  matches(input: TestInput): boolean;
}

/** A {@link Clause} that is to be filed. */
export interface KeyedClause {
  /** It. */
  readonly clause: Clause;
  /** Where. */
  readonly keys: ClauseKeys;
}

/** First segment of a path. */
export function firstSegment(path: string): string {
  const end = path.indexOf('/', 1);
  return end === -1 ? path.slice(1) : path.slice(1, end);
}

function allExact(patterns: readonly string[] | undefined): readonly string[] | undefined {
  return patterns?.every((pattern) => patternKind(pattern) === 'exact') ? patterns : undefined;
}

/** First segment of every path that begins with `head`; `undefined` if they differ. */
function segmentOf(head: string): string | undefined {
  return head.startsWith('/') && head.includes('/', 1) ? firstSegment(head) : undefined;
}

/** @param spell - Every spelling that a literal of a path is looked up with. */
function pathKeys(
  paths: readonly string[] | undefined,
  spell: (literal: string) => readonly string[],
  keyOf: (path: string) => string,
): Pick<ClauseKeys, 'paths' | 'segments'> {
  if (paths === undefined) return { paths: undefined, segments: undefined };
  if (paths.every(isExactPath))
    return { paths: [...new Set(paths.flatMap(spell).map(keyOf))], segments: undefined };
  const segments = new Set(paths.map(fixedHead).flatMap(spell).map(segmentOf));
  return {
    paths: undefined,
    segments: segments.has(undefined) ? undefined : [...segments].filter((segment) => segment !== undefined),
  };
}

function compileClause(
  policy: AuthorizationPolicy,
  rule: PolicyRule,
  source: PolicySource | undefined,
  operation: PolicyOperation | undefined,
  decision: Decision,
  scope: SourceScope,
  router: RouterEquivalence,
): KeyedClause {
  const tests: readonly Test[] = [
    ...(source === undefined ? [] : sourceTests(source, scope)),
    ...(operation === undefined ? [] : operationTests(operation, policy.action, router)),
    ...(rule.when ?? []).flatMap((condition) => conditionTests(condition, scope)),
  ];
  const isDeny = policy.action === 'DENY';
  const spell = (literal: string): readonly string[] => (isDeny ? foldLiteral(literal, router) : [literal]);
  const keyOf = (path: string): string => (isDeny ? spellingKey(path, router) : path);
  const principals = allExact(source?.principals);
  const namespaces = source?.namespaces?.every((one) => !one.includes('*')) ? source.namespaces : undefined;
  return {
    clause: {
      decision,
      matches(input) {
        for (let i = 0; i < tests.length; i++) if (tests[i]?.(input) === false) return false;
        return true;
      },
    },
    keys: {
      ...pathKeys(operation?.paths, spell, keyOf),
      principals: principals && expandPrincipals(principals, scope.trustDomain, scope.aliases),
      namespaces,
    },
  };
}

/** Compiles a policy that was checked. */
export function compileClauses(
  policy: AuthorizationPolicy,
  trust: { readonly trustDomain: string; readonly aliases: readonly string[] },
  router: RouterEquivalence,
): readonly KeyedClause[] {
  const scope: SourceScope = { ...trust, namespace: policy.namespace };
  const name = `${policy.namespace}/${policy.name}`;
  return policy.rules.flatMap((rule, index) => {
    const decision: Decision = Object.freeze({
      isAllowed: policy.action === 'ALLOW',
      policy: name,
      rule: index,
      origin: rule.origin,
      reason: `${policy.action} policy ${name}, rule ${index}`,
    });
    return (rule.from ?? [undefined]).flatMap((source) =>
      (rule.to ?? [undefined]).map((operation) =>
        compileClause(policy, rule, source, operation, decision, scope, router),
      ),
    );
  });
}
