import * as v from 'valibot';
import { isPlainObject } from './shape.js';

const strings = v.optional(v.array(v.string()));

/** Fields that Istio has and this version does not enforce: known, so that they are not called misspelt. */
const unbuilt = v.optional(v.unknown());

const source = v.strictObject({
  principals: strings,
  notPrincipals: strings,
  namespaces: strings,
  notNamespaces: strings,
  serviceAccounts: strings,
  notServiceAccounts: strings,
  trustDomains: strings,
  notTrustDomains: strings,
  ipBlocks: strings,
  notIpBlocks: strings,
  requestPrincipals: unbuilt,
  notRequestPrincipals: unbuilt,
  remoteIpBlocks: unbuilt,
  notRemoteIpBlocks: unbuilt,
});

const operation = v.strictObject({
  hosts: strings,
  notHosts: strings,
  ports: strings,
  notPorts: strings,
  methods: strings,
  notMethods: strings,
  paths: strings,
  notPaths: strings,
});

const condition = v.strictObject({ key: v.string(), values: strings, notValues: strings });

const rule = v.strictObject({
  from: v.optional(v.array(v.strictObject({ source }))),
  to: v.optional(v.array(v.strictObject({ operation }))),
  when: v.optional(v.array(condition)),
});

/** `AuthorizationPolicy` of `security.istio.io`, every field known, no other allowed. */
const policySchema = v.strictObject({
  apiVersion: v.optional(v.picklist(['security.istio.io/v1', 'security.istio.io/v1beta1'])),
  kind: v.optional(v.literal('AuthorizationPolicy')),
  // Kubernetes adds to it what it likes: uid, generation, managedFields.
  metadata: v.looseObject({
    name: v.pipe(
      v.string(),
      v.regex(/^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/, 'must be a Kubernetes name'),
    ),
    namespace: v.optional(
      v.pipe(v.string(), v.regex(/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a Kubernetes namespace')),
    ),
    annotations: v.optional(v.record(v.string(), v.string())),
  }),
  spec: v.optional(
    v.strictObject({
      selector: v.optional(v.strictObject({ matchLabels: v.optional(v.record(v.string(), v.string())) })),
      action: v.optional(v.picklist(['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'])),
      rules: v.optional(v.array(rule)),
      provider: unbuilt,
      targetRef: unbuilt,
      targetRefs: unbuilt,
    }),
    {},
  ),
  status: v.optional(v.unknown()),
});

/** A policy as it stands in a file. */
export type PolicyDocument = v.InferOutput<typeof policySchema>;

/** A mistake: where, and what. */
export interface SchemaProblem {
  /** Keys from the top to the value. */
  readonly path: readonly (string | number)[];
  /** What is wrong. */
  readonly message: string;
  /** The name that does not exist, if that is the mistake. */
  readonly unknownKey?: string;
}

function problemOf(issue: v.BaseIssue<unknown>): SchemaProblem {
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const isUnknown = issue.type === 'strict_object' && issue.expected === 'never';
  if (isUnknown)
    return { path, message: `unknown field "${String(path.at(-1))}"`, unknownKey: String(path.at(-1)) };
  const expected =
    issue.expected === null ? issue.message : `expected ${issue.expected}, found ${issue.received}`;
  return { path, message: issue.type === 'regex' ? issue.message : expected };
}

/** Where a list would be taken for a mapping without fields. */
const mappings: ReadonlySet<string | number> = new Set([
  'annotations',
  'matchLabels',
  'metadata',
  'operation',
  'selector',
  'source',
  'spec',
]);
/** Names that valibot passes over, as if they were not there. */
const passedOver: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

type Path = SchemaProblem['path'];

/**
 * What a schema would read as less than it says: a list or an instance of a class, which has no fields, for a rule, which
 * then allows everybody; a label of a name that is passed over, without which a selector selects every workload.
 */
function findMisread(value: unknown, path: Path, problems: SchemaProblem[]): void {
  if (typeof value !== 'object' || value === null) return;
  const key = path.at(-1) ?? '';
  if (Array.isArray(value)) {
    if (typeof key === 'number' || mappings.has(key))
      problems.push({ path, message: 'expected Object, found Array' });
    // Holes of a list are values, too.
    else Array.from<unknown>(value).forEach((one, index) => findMisread(one, [...path, index], problems));
    return;
  }
  if (!isPlainObject(value)) {
    problems.push({ path, message: 'expected a mapping, found something else' });
    return;
  }
  for (const [name, one] of Object.entries(value)) {
    const at = [...path, name];
    if (passedOver.has(name)) problems.push({ path: at, message: `"${name}" cannot be a name here` });
    else findMisread(one, at, problems);
  }
}

function misreadIn(json: unknown): readonly SchemaProblem[] {
  if (!isPlainObject(json)) return [{ path: [], message: 'expected a mapping, found something else' }];
  const { spec, metadata } = json;
  const problems: SchemaProblem[] = [];
  findMisread(spec, ['spec'], problems);
  // Of the rest of it nothing is read but two texts: Kubernetes adds what it likes.
  if (isPlainObject(metadata)) findMisread(metadata['annotations'], ['metadata', 'annotations'], problems);
  else findMisread(metadata, ['metadata'], problems);
  return problems;
}

/** Checks a document; either it or every mistake in it. */
export function readPolicyDocument(
  json: unknown,
): { readonly document: PolicyDocument } | { readonly problems: readonly SchemaProblem[] } {
  const problems = misreadIn(json);
  if (problems.length > 0) return { problems };
  const result = v.safeParse(policySchema, json);
  return result.success ? { document: result.output } : { problems: result.issues.map(problemOf) };
}
