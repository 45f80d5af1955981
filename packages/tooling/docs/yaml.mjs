// Checks YAML in the documentation: policies by the reader of the mesh, everything else as YAML.

import { compilePolicies } from '@inmesh/authz';
import { parsePolicies } from '@inmesh/config/policies';
import { parseAllDocuments } from 'yaml';

const workload = { namespace: 'default', labels: {}, trustDomain: 'dev.local' };

export function yamlProblems({ code }) {
  const documents = parseAllDocuments(code, { strict: true, uniqueKeys: true });
  const broken = documents.flatMap(({ errors }) => errors.map(({ message }) => message));
  if (broken.length > 0) return broken;
  const kinds = documents.map((document) => document.toJS()?.kind);
  if (!kinds.includes('AuthorizationPolicy')) return [];
  try {
    compilePolicies(parsePolicies(code, 'policy.yaml', { namespace: workload.namespace }), workload);
    return [];
  } catch (error) {
    return [error.message];
  }
}
