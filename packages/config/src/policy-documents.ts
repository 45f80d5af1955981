import { type AuthorizationPolicy, isMeshError, MeshError, type Origin, type PolicyRule } from '@inmesh/core';
import { type Diagnostic, type Report, raise, renderDiagnostic } from './manifest/diagnostic.js';
import { parseDocuments } from './manifest/documents.js';
import type { Locate, Path } from './manifest/locate.js';
import { nearest } from './nearest.js';
import { type PolicyDocument, readPolicyDocument, type SchemaProblem } from './policy-schema.js';

const fieldNames =
  'apiVersion kind metadata spec status selector matchLabels action rules from to when source operation key values notValues principals notPrincipals namespaces notNamespaces serviceAccounts notServiceAccounts trustDomains notTrustDomains ipBlocks notIpBlocks hosts notHosts ports notPorts methods notMethods paths notPaths'.split(
    ' ',
  );

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

/** Reads one document; what is wrong is reported. */
export function readPolicy(
  json: unknown,
  namespace: string,
  locate: Locate,
  report: Report,
): AuthorizationPolicy | undefined {
  const result = readPolicyDocument(json);
  if ('problems' in result) {
    for (const { path, message, unknownKey } of result.problems satisfies readonly SchemaProblem[]) {
      const meant = unknownKey === undefined ? undefined : nearest(unknownKey, fieldNames);
      report({
        code: 'INMESH_ERR_POLICY_INVALID',
        origin: locate(path, unknownKey !== undefined),
        message: meant === undefined ? message : `${message}; did you mean "${meant}"?`,
      });
    }
    return undefined;
  }
  const unbuilt = findUnbuilt(result.document);
  for (const { path, field } of unbuilt)
    report({
      code: 'INMESH_ERR_POLICY_UNSUPPORTED',
      origin: locate(path),
      message: `"${field}" is not supported yet`,
      field,
    });
  return unbuilt.length > 0 ? undefined : toModel(result.document, namespace, locate);
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
  const diagnostics: Diagnostic[] = [];
  const report: Report = (one) => void diagnostics.push(one);
  // What is no YAML is no policy either: errors of a directory of policies have one code.
  const documents = parseDocuments(text, file, (one) =>
    report({ ...one, code: 'INMESH_ERR_POLICY_INVALID' }),
  );
  const policies: AuthorizationPolicy[] = [];
  for (const { json, locate } of documents) {
    const fault = checkKind(json, locate);
    const policy = fault === undefined ? readPolicy(json, namespace, locate, report) : report(fault);
    if (policy !== undefined) policies.push(policy);
  }
  if (diagnostics.length === 0 && policies.length === 0)
    report({
      code: 'INMESH_ERR_POLICY_INVALID',
      origin: { source: file, line: 1, column: 1 },
      message: 'there is no policy in it; remove the file if that is meant',
    });
  if (diagnostics.length > 0) raise(diagnostics, new Map([[file, text]]));
  return policies;
}

function checkKind(json: unknown, locate: Locate): Diagnostic | undefined {
  const code = 'INMESH_ERR_POLICY_INVALID';
  if (typeof json !== 'object' || json === null)
    return { code, origin: locate([]), message: 'a policy is a mapping' };
  const { kind, apiVersion } = json as { kind?: string; apiVersion?: string };
  if (kind === undefined || apiVersion === undefined)
    return {
      code,
      origin: locate([]),
      message: '"apiVersion: security.istio.io/v1" and "kind: AuthorizationPolicy" must be there',
    };
  if (kind === 'AuthorizationPolicy') return undefined;
  return {
    code: 'INMESH_ERR_POLICY_UNSUPPORTED',
    origin: locate(['kind']),
    message: `kind "${kind}" is not supported in a policy directory; INMESH_CONFIG takes others`,
    field: `kind: ${kind}`,
  };
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
  const diagnostics: Diagnostic[] = [];
  const policy = readPolicy(json, namespace, locate, (one) => void diagnostics.push(one));
  if (policy === undefined) raise(diagnostics, new Map());
  return policy;
}

/** Adds the code frame to an error that knows its place, where `files` has the text that it is about. */
export function frameError(error: unknown, files: ReadonlyMap<string, string>): unknown {
  if (!isMeshError(error)) return error;
  const { source, line, column } = error.details as Partial<Origin>;
  const text = source === undefined ? undefined : files.get(source);
  if (source === undefined || text === undefined || !line || !column || error.message.includes('\n'))
    return error;
  const prefix = `${source}:${line}:${column}: `;
  const message = error.message.startsWith(prefix) ? error.message.slice(prefix.length) : error.message;
  const framed = renderDiagnostic({ code: error.code, origin: { source, line, column }, message }, text);
  return new MeshError(error.code, framed, { details: error.details, cause: error });
}
