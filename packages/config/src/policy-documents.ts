import {
  type AuthorizationPolicy,
  isMeshError,
  MeshError,
  type MeshErrorCode,
  type Origin,
  type PolicyRule,
} from '@inmesh/core';
import { type Document, isMap, isNode, isScalar, LineCounter, parseAllDocuments } from 'yaml';
import { codeFrame } from './code-frame.js';
import { nearest } from './nearest.js';
import { type PolicyDocument, readPolicyDocument, type SchemaProblem } from './policy-schema.js';

type Path = readonly (string | number)[];
/** Finds where a value stands. */
type Locate = (path: Path, isAtKey?: boolean) => Origin;

const fieldNames =
  'apiVersion kind metadata spec status selector matchLabels action rules from to when source operation key values notValues principals notPrincipals namespaces notNamespaces serviceAccounts notServiceAccounts trustDomains notTrustDomains ipBlocks notIpBlocks hosts notHosts ports notPorts methods notMethods paths notPaths'.split(
    ' ',
  );

class Problem {
  readonly code: MeshErrorCode;
  readonly origin: Origin;
  readonly message: string;
  readonly field: string | undefined;

  constructor(code: MeshErrorCode, origin: Origin, message: string, field?: string) {
    this.code = code;
    this.origin = origin;
    this.message = message;
    this.field = field;
  }

  render(text: string): string {
    const { source, line, column } = this.origin;
    return line === 0
      ? `${source}: ${this.message}`
      : `${source}:${line}:${column}: ${this.message}\n${codeFrame(text, line, column)}`;
  }
}

function raise(problems: readonly Problem[], text: string): never {
  const [first] = problems;
  // What is wrong outweighs what is not built yet.
  const worst = problems.find((problem) => problem.code === 'INMESH_ERR_POLICY_INVALID') ?? first;
  throw new MeshError(
    worst?.code ?? 'INMESH_ERR_POLICY_INVALID',
    problems.map((problem) => problem.render(text)).join('\n'),
    {
      details: { ...worst?.origin, field: worst?.field },
    },
  );
}

/** Fields and values that Istio has and this version does not enforce, in one document. */
function findUnbuilt(document: PolicyDocument): readonly { readonly path: Path; readonly field: string }[] {
  const found: { path: Path; field: string }[] = [];
  const { spec, metadata } = document;
  for (const field of ['provider', 'targetRef', 'targetRefs'] as const) {
    if (spec[field] !== undefined) found.push({ path: ['spec', field], field });
  }
  if (spec.action === 'AUDIT' || spec.action === 'CUSTOM')
    found.push({ path: ['spec', 'action'], field: `action: ${spec.action}` });
  const dryRun = metadata.annotations?.['istio.io/dry-run'];
  if (dryRun !== undefined && !/^(?:0|f|F|false|False|FALSE)$/.test(dryRun)) {
    found.push({
      path: ['metadata', 'annotations', 'istio.io/dry-run'],
      field: 'annotation istio.io/dry-run',
    });
  }
  for (const [r, rule] of (spec.rules ?? []).entries()) {
    for (const [f, from] of (rule.from ?? []).entries()) {
      for (const field of [
        'requestPrincipals',
        'notRequestPrincipals',
        'remoteIpBlocks',
        'notRemoteIpBlocks',
      ] as const) {
        if (from.source[field] !== undefined)
          found.push({ path: ['spec', 'rules', r, 'from', f, 'source', field], field });
      }
    }
  }
  return found;
}

function toModel(document: PolicyDocument, namespace: string, locate: Locate): AuthorizationPolicy {
  const { metadata, spec } = document;
  const rules = (spec.rules ?? []).map(
    (rule, index): PolicyRule => ({
      ...(rule.from === undefined ? {} : { from: rule.from.map((one) => one.source) }),
      ...(rule.to === undefined ? {} : { to: rule.to.map((one) => one.operation) }),
      ...(rule.when === undefined ? {} : { when: rule.when }),
      origin: locate(['spec', 'rules', index]),
    }),
  );
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? namespace,
    action: spec.action === 'DENY' ? 'DENY' : 'ALLOW',
    selector: spec.selector?.matchLabels ?? {},
    rules,
    origin: locate([]),
  };
}

function convert(
  json: unknown,
  namespace: string,
  locate: Locate,
): { readonly policy?: AuthorizationPolicy; readonly problems: readonly Problem[] } {
  const result = readPolicyDocument(json);
  if ('problems' in result) {
    return {
      problems: result.problems.map(({ path, message, unknownKey }: SchemaProblem) => {
        const meant = unknownKey === undefined ? undefined : nearest(unknownKey, fieldNames);
        return new Problem(
          'INMESH_ERR_POLICY_INVALID',
          locate(path, unknownKey !== undefined),
          meant === undefined ? message : `${message}; did you mean "${meant}"?`,
        );
      }),
    };
  }
  const unbuilt = findUnbuilt(result.document);
  if (unbuilt.length > 0) {
    return {
      problems: unbuilt.map(
        ({ path, field }) =>
          new Problem(
            'INMESH_ERR_POLICY_UNSUPPORTED',
            locate(path),
            `"${field}" is not supported yet`,
            field,
          ),
      ),
    };
  }
  return { policy: toModel(result.document, namespace, locate), problems: [] };
}

/** Where a value, or the name of an unknown field, stands in a document. */
function locateIn(document: Document, lines: LineCounter, file: string): Locate {
  return (path, isAtKey = false) => {
    for (let length = path.length; length >= 0; length--) {
      const parent = length === 0 ? undefined : document.getIn(path.slice(0, length - 1), true);
      const owner = length === 1 ? document.contents : parent;
      const key = path[length - 1];
      const pair = isMap(owner)
        ? owner.items.find((item) => isScalar(item.key) && item.key.value === key)
        : undefined;
      const value: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
      const node = isNode(value) && !isMap(value) && !isAtKey ? value : isNode(pair?.key) ? pair.key : value;
      const offset = isNode(node) ? node.range?.[0] : undefined;
      if (offset === undefined) continue;
      const { line, col } = lines.linePos(offset);
      return Object.freeze({ source: file, line, column: col });
    }
    return Object.freeze({ source: file, line: 1, column: 1 });
  };
}

/** What {@link parsePolicies} completes policies with. */
export interface ParsePoliciesOptions {
  /** Namespace of a policy that names none: the workload's own. */
  readonly namespace: string;
}

/**
 * Reads a YAML or JSON text of `AuthorizationPolicy` documents, as Istio has them.
 *
 * @throws MeshError `INMESH_ERR_POLICY_INVALID` or `INMESH_ERR_POLICY_UNSUPPORTED`, every mistake with its place.
 */
export function parsePolicies(
  text: string,
  file: string,
  { namespace }: ParsePoliciesOptions,
): readonly AuthorizationPolicy[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    uniqueKeys: true,
    version: '1.2',
    strict: true,
  });
  const problems: Problem[] = [];
  const policies: AuthorizationPolicy[] = [];
  for (const document of Array.isArray(documents) ? documents : []) {
    for (const fault of [...document.errors, ...document.warnings]) {
      const { line, col } = lines.linePos(fault.pos[0]);
      problems.push(
        new Problem(
          'INMESH_ERR_POLICY_INVALID',
          { source: file, line, column: col },
          fault.message.split('\n')[0] ?? fault.code,
        ),
      );
    }
    if (document.errors.length > 0 || document.contents === null) continue;
    const locate = locateIn(document, lines, file);
    const json: unknown = document.toJS({ maxAliasCount: 50 });
    const faults = checkKind(json, locate);
    const result = faults.length > 0 ? { problems: faults } : convert(json, namespace, locate);
    problems.push(...result.problems);
    if ('policy' in result && result.policy !== undefined) policies.push(result.policy);
  }
  if (problems.length > 0) raise(problems, text);
  if (policies.length === 0)
    raise(
      [
        new Problem(
          'INMESH_ERR_POLICY_INVALID',
          { source: file, line: 1, column: 1 },
          'there is no policy in it; remove the file if that is meant',
        ),
      ],
      text,
    );
  return policies;
}

function checkKind(json: unknown, locate: Locate): readonly Problem[] {
  if (typeof json !== 'object' || json === null)
    return [new Problem('INMESH_ERR_POLICY_INVALID', locate([]), 'a policy is a mapping')];
  const { kind, apiVersion } = json as { kind?: string; apiVersion?: string };
  if (kind === undefined || apiVersion === undefined) {
    return [
      new Problem(
        'INMESH_ERR_POLICY_INVALID',
        locate([]),
        '"apiVersion: security.istio.io/v1" and "kind: AuthorizationPolicy" must be there',
      ),
    ];
  }
  if (kind !== 'AuthorizationPolicy')
    return [
      new Problem(
        'INMESH_ERR_POLICY_UNSUPPORTED',
        locate(['kind']),
        `kind "${kind}" is not supported yet`,
        `kind: ${kind}`,
      ),
    ];
  return [];
}

/**
 * Reads one policy given in code, as Istio's JSON; `apiVersion` and `kind` may be left out.
 *
 * @throws MeshError like {@link parsePolicies}.
 */
export function parsePolicyObject(
  json: unknown,
  source: string,
  { namespace }: ParsePoliciesOptions,
): AuthorizationPolicy {
  const locate: Locate = (path) => ({
    source: path.length === 0 ? source : `${source} ${path.join('.')}`,
    line: 0,
    column: 0,
  });
  const { policy, problems } = convert(json, namespace, locate);
  if (policy === undefined) raise(problems, '');
  return policy;
}

/** Adds the code frame to an error that knows its place, where `text` is the file it is about. */
export function frameError(error: unknown, files: ReadonlyMap<string, string>): unknown {
  if (!isMeshError(error)) return error;
  const { source, line, column } = error.details as Partial<Origin>;
  const text = source === undefined ? undefined : files.get(source);
  if (text === undefined || !line || !column || error.message.includes('\n')) return error;
  return new MeshError(error.code, `${error.message}\n${codeFrame(text, line, column)}`, {
    details: error.details,
    cause: error,
  });
}
