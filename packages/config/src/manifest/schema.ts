import { settings } from '../settings.js';
import { type FieldNode, fieldTree, type IstioKind, istioKinds } from './field-tree.js';
import { apiVersions } from './manifest-set.js';
import { meshFields } from './mesh-document.js';
import { isRefused, supportOf } from './support.js';

/** A JSON Schema, of which only what is used here is said. */
export type JsonSchema = Readonly<Record<string, unknown>>;

function plainSchema(type: string, kind: IstioKind, path: string): JsonSchema {
  const support = supportOf(kind, path);
  if (support.kind === 'fixed') return { enum: support.values };
  return ['string', 'boolean', 'integer', 'number'].includes(type) ? { type } : { enum: type.split('|') };
}

/** Only what is in force: an editor marks the rest. */
function nodeSchema(node: FieldNode, kind: IstioKind, path: string): JsonSchema {
  switch (node.kind) {
    case 'list':
      return { type: 'array', items: nodeSchema(node.item, kind, `${path}[]`) };
    case 'map':
      return { type: 'object', additionalProperties: nodeSchema(node.item, kind, `${path}{}`) };
    case 'value':
      return plainSchema(node.type, kind, path);
    case 'object': {
      const fields = [...node.fields].flatMap(([name, one]) => {
        const below = path === '' ? name : `${path}.${name}`;
        return isRefused(kind, below) ? [] : [[name, nodeSchema(one, kind, below)] as const];
      });
      return { type: 'object', additionalProperties: false, properties: Object.fromEntries(fields) };
    }
  }
}

const metadata: JsonSchema = {
  type: 'object',
  required: ['name'],
  properties: { name: { type: 'string' }, namespace: { type: 'string' } },
};

function documentSchema(kind: string, spec: JsonSchema, needsMetadata: boolean): JsonSchema {
  return {
    type: 'object',
    additionalProperties: false,
    required: ['apiVersion', 'kind', ...(needsMetadata ? ['metadata'] : [])],
    properties: {
      apiVersion: { enum: apiVersions[kind] },
      kind: { const: kind },
      metadata: needsMetadata ? metadata : { type: 'object' },
      spec,
      status: {},
    },
  };
}

function meshSchema(): JsonSchema {
  const properties = meshFields.map((name) => {
    const description = settings.find(({ key }) => key === name)?.text;
    return [name, description === undefined ? {} : { description }] as const;
  });
  return { type: 'object', additionalProperties: false, properties: Object.fromEntries(properties) };
}

/** Schema of one document of a configuration file, for editors. What is not supported is not in it. */
export function manifestSchema(): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Configuration of Inmesh',
    oneOf: [
      documentSchema('Mesh', meshSchema(), false),
      ...istioKinds.map((kind) => documentSchema(kind, nodeSchema(fieldTree(kind), kind, ''), true)),
    ],
  };
}
