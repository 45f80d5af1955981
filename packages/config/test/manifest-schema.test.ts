import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { istioKinds } from '../src/manifest/field-tree.js';
import { apiVersions } from '../src/manifest/manifest-set.js';
import { supportRows } from '../src/manifest/support.js';
import { manifestSchema } from '../src/manifests.js';

const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(manifestSchema());

/** A document with one field, of any value. */
function documentWith(kind: string, path: string, value: unknown): object {
  const parts = path.match(/\[\]|\{\}|[^.[\]{}]+/g) ?? [];
  const spec = parts.reduceRight<unknown>(
    (inner, part) => (part === '[]' ? [inner] : { [part === '{}' ? 'x' : part]: inner }),
    value,
  );
  return { apiVersion: apiVersions[kind]?.[0], kind, metadata: { name: 'it' }, spec };
}

const valueOf = (type: string): unknown =>
  type.includes('|') ? type.split('|')[0] : { string: 'x', boolean: true, integer: 1, number: 1.5 }[type];

describe('the schema for editors', () => {
  it.each(istioKinds.flatMap((kind) => supportRows(kind).map((row) => ({ kind, ...row }))))(
    'knows $kind $path as the reader does',
    ({ kind, path, type, support }) => {
      if (support.kind === 'fixed')
        for (const value of support.values) expect(validate(documentWith(kind, path, value))).toBe(true);
      else expect(validate(documentWith(kind, path, valueOf(type)))).toBe(support.kind === 'enforced');
    },
  );

  it('takes the documents of the documentation', () => {
    const page = readFileSync(new URL('../../../docs/how-to/configure.md', import.meta.url), 'utf8');
    const [, yaml = ''] = /```yaml\n([^]*?)```/.exec(page) ?? [];
    const documents = parseAllDocuments(yaml).map((one) => one.toJS() as unknown);
    expect(documents).toHaveLength(4);
    for (const document of documents) expect([validate(document), validate.errors]).toEqual([true, null]);
  });

  it('refuses what is misspelt', () => {
    expect(validate(documentWith('PeerAuthentication', 'mtls.mod', 'STRICT'))).toBe(false);
    expect(validate({ apiVersion: 'inmesh.dev/v1alpha1', kind: 'Mesh', spec: { timout: '1s' } })).toBe(false);
    expect(validate({ apiVersion: 'inmesh.dev/v1alpha1', kind: 'Mesh', spec: { timeout: '1s' } })).toBe(true);
  });
});
