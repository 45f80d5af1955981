import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Deployment, type IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { ConfigMap, type IConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { Namespace } from 'kubernetes-models/v1/Namespace';
import { type IService, Service } from 'kubernetes-models/v1/Service';
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import ts from 'typescript';
import { parseAllDocuments } from 'yaml';

/** A document of a manifest. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
}

/** What a manifest of ours may hold: where its type is, and what checks its values by the schema of Kubernetes. */
const models = {
  'v1/ConfigMap': ConfigMap,
  'v1/Namespace': Namespace,
  'v1/Service': Service,
  'v1/ServiceAccount': ServiceAccount,
  'apps/v1/Deployment': Deployment,
  'policy/v1/PodDisruptionBudget': PodDisruptionBudget,
} as const;

/** Every document of the example. */
export function readManifests(): readonly Manifest[] {
  const file = fileURLToPath(new URL('../manifests/orders.yaml', import.meta.url));
  return parseAllDocuments(readFileSync(file, 'utf8'), { strict: true, uniqueKeys: true }).map((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    return document.toJS() as Manifest;
  });
}

/** What of the values breaks the schema of their kind. */
function schemaProblems(manifest: Manifest): readonly string[] {
  const Model = models[`${manifest.apiVersion}/${manifest.kind}` as keyof typeof models];
  if (Model === undefined) return [`${manifest.apiVersion} ${manifest.kind} is not known`];
  try {
    // Every model takes what its kind is; which one this is only its name says.
    (new Model(manifest as never) as { validate(): void }).validate();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

/** Fields that no kind has: the schemas let them pass, the types that are made of the schemas do not. */
function unknownFields(manifests: readonly Manifest[]): readonly string[] {
  const name = fileURLToPath(new URL('./manifests.generated.ts', import.meta.url));
  const code = manifests
    .map(
      (manifest, index) =>
        `import type { I${manifest.kind} as T${index} } from 'kubernetes-models/${manifest.apiVersion}/${manifest.kind}';\nexport const m${index}: T${index} = ${JSON.stringify(manifest)};`,
    )
    .join('\n');
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (file) => file === name || fileExists(file);
  host.getSourceFile = (file, language) =>
    file === name ? ts.createSourceFile(file, code, language) : getSourceFile(file, language);
  return ts
    .getPreEmitDiagnostics(ts.createProgram([name], options, host))
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

/** Everything that is wrong with these documents. */
export function problemsOf(manifests: readonly Manifest[]): readonly string[] {
  return [...manifests.flatMap(schemaProblems), ...unknownFields(manifests)];
}

/** The one document of a kind. */
function only<T>(manifests: readonly Manifest[], kind: string): T {
  const [first, ...others] = manifests.filter((one) => one.kind === kind);
  if (first === undefined || others.length > 0) throw new Error(`there must be one ${kind}`);
  return first as T;
}

/** The documents that refer to each other. */
export function partsOf(manifests: readonly Manifest[]): {
  readonly deployment: IDeployment;
  readonly service: IService;
  readonly policies: IConfigMap;
} {
  return {
    deployment: only(manifests, 'Deployment'),
    service: only(manifests, 'Service'),
    policies: only(manifests, 'ConfigMap'),
  };
}
