import { istioKinds } from './field-tree.js';
import { apiVersions } from './manifest-set.js';
import { meshFields } from './mesh-document.js';
import { type Support, supportRows } from './support.js';

function supportText(support: Support): string {
  if (support.kind !== 'fixed') return support.kind === 'enforced' ? 'in force' : 'an error: not supported';
  return `only ${support.values.map((value) => `\`${String(value)}\``).join(', ')}`;
}

/** The reference of manifests: every field of every kind, and what becomes of it. */
export function renderManifestsMarkdown(): string {
  const kinds = istioKinds.flatMap((kind) => [
    `## ${kind}`,
    '',
    `\`apiVersion\`: ${(apiVersions[kind] ?? []).map((one) => `\`${one}\``).join(', ')}`,
    '',
    '| Field of `spec` | Type | What becomes of it |',
    '| --- | --- | --- |',
    ...supportRows(kind).map(
      ({ path, type, support }) =>
        `| \`${path}\` | ${type.includes('|') ? 'a word' : type} | ${supportText(support)} |`,
    ),
    '',
  ]);
  const mesh = [
    '## Mesh',
    '',
    '`apiVersion`: `inmesh.dev/v1alpha1`. Fields of `spec`, described with [the settings](configuration.md):',
    '',
    meshFields.map((name) => `\`${name}\``).join(', '),
    '',
  ];
  return [...kinds, ...mesh].join('\n');
}
