import type { AuthorizationPolicy, Origin, PolicyOperation, PolicyRule, PolicySource } from '@inmesh/core';
import { conditionTests } from './condition-tests.js';
import { foldPath, type RouterEquivalence, stripSlash } from './equivalence.js';
import { operationTests } from './operation-tests.js';
import { isTemplate } from './path-template.js';
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

/** Where a clause can be filed: the first that is not `undefined` is used. */
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
  /** Where to file it. */
  readonly keys: ClauseKeys;
  /** Whether it matches. */
  matches(input: TestInput): boolean;
}

/** First segment of a path. */
export function firstSegment(path: string): string {
  const end = path.indexOf('/', 1);
  return end === -1 ? path.slice(1) : path.slice(1, end);
}

/** First segment of every path that `pattern` matches; `undefined` if they differ. */
function segmentOf(pattern: string): string | undefined {
  const operator = isTemplate(pattern) ? pattern.indexOf('{') : pattern.indexOf('*');
  const fixed =
    patternKind(pattern) === 'exact' && !isTemplate(pattern)
      ? `${pattern}/`
      : pattern.slice(0, Math.max(0, operator));
  if (!fixed.startsWith('/')) return undefined;
  const end = fixed.indexOf('/', 1);
  return end === -1 ? undefined : fixed.slice(1, end);
}

function allExact(patterns: readonly string[] | undefined): readonly string[] | undefined {
  return patterns?.every((pattern) => patternKind(pattern) === 'exact') ? patterns : undefined;
}

function pathKeys(
  paths: readonly string[] | undefined,
  fold: (path: string) => readonly string[],
): Pick<ClauseKeys, 'paths' | 'segments'> {
  if (paths === undefined) return { paths: undefined, segments: undefined };
  if (paths.every((path) => patternKind(path) === 'exact' && !isTemplate(path)))
    return { paths: [...new Set(paths.flatMap(fold))], segments: undefined };
  const segments = paths.map((path) => segmentOf(path));
  if (segments.includes(undefined)) return { paths: undefined, segments: undefined };
  return {
    paths: undefined,
    segments: [
      ...new Set(segments.flatMap((segment) => fold(`/${segment ?? ''}`).map((path) => path.slice(1)))),
    ],
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
): Clause {
  const tests: readonly Test[] = [
    ...(source === undefined ? [] : sourceTests(source, scope)),
    ...(operation === undefined ? [] : operationTests(operation, policy.action, router)),
    ...(rule.when ?? []).flatMap((condition) => conditionTests(condition, scope)),
  ];
  // A literal is filed under each spelling that a request for it is looked up with.
  const fold = (path: string): readonly string[] =>
    policy.action === 'DENY'
      ? [false, router.cutsAtSemicolon].map((cutsAtSemicolon) =>
          stripIf(foldPath(path, { ...router, cutsAtSemicolon }), router),
        )
      : [path];
  const principals = allExact(source?.principals);
  const namespaces = source?.namespaces?.every((one) => !one.includes('*')) ? source.namespaces : undefined;
  return {
    decision,
    keys: {
      ...pathKeys(operation?.paths, fold),
      principals: principals && expandPrincipals(principals, scope.trustDomain, scope.aliases),
      namespaces,
    },
    matches(input) {
      for (let i = 0; i < tests.length; i++) if (tests[i]?.(input) === false) return false;
      return true;
    },
  };
}

/** Strips trailing slashes where the router ignores them. */
export function stripIf(path: string, router: RouterEquivalence): string {
  return router.ignoresTrailingSlash ? stripSlash(path) : path;
}

/** Compiles a policy that was checked. */
export function compileClauses(
  policy: AuthorizationPolicy,
  trust: { readonly trustDomain: string; readonly aliases: readonly string[] },
  router: RouterEquivalence,
): readonly Clause[] {
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
