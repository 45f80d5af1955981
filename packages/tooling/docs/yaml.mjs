// Checks YAML in the documentation: manifests as a mesh reads them, everything else as YAML.

import { compilePolicies } from '@inmesh/authz';
import { resolveConfig } from '@inmesh/config';
import { readManifests } from '@inmesh/config/manifests';
import { parseAllDocuments } from 'yaml';

const env = { INMESH_SERVICE_NAME: 'docs' };
const workload = { namespace: 'default', labels: {}, trustDomain: 'dev.local' };

export function yamlProblems({ code }) {
  const documents = parseAllDocuments(code, { strict: true, uniqueKeys: true });
  const broken = documents.flatMap(({ errors }) => errors.map(({ message }) => message));
  if (broken.length > 0) return broken;
  const isOurs = documents.some((document) =>
    /^(?:security\.istio\.io|networking\.istio\.io|inmesh\.dev)\//.test(document.toJS()?.apiVersion),
  );
  if (!isOurs) return [];
  try {
    const file = readManifests(new Map([['block.yaml', code]]));
    compilePolicies(resolveConfig({ env, cwd: '/', file }).values.policies, workload);
    return [];
  } catch (error) {
    return [error.message];
  }
}
