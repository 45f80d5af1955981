import { isMeshError } from '@inmesh/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EndpointSpec, type MeshSettings, printEndpoints, resolveConfig } from '../src/index.js';

const refused = (env: Record<string, string>, code: unknown): unknown => {
  try {
    resolveConfig({
      env: { INMESH_SERVICE_NAME: 'web', ...env },
      code: code as MeshSettings,
      cwd: '/nonexistent',
    });
    return undefined;
  } catch (error) {
    return error;
  }
};
const isOurs = (error: unknown): boolean => error === undefined || isMeshError(error);

const part = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('dnssrv+', 'dns+', ':', '[', ']', ',', '::1', '10.0.0.1', ':80', '%', 'a.b', '_x._tcp.y'),
);
const text = fc.array(part, { maxLength: 8 }).map((parts) => parts.join(''));
const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/);
const name = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'));
const host = fc.oneof(name, fc.ipV4(), fc.constantFrom('[::1]', '[2001:db8::1]'));
const item = fc.oneof(
  fc.tuple(host, fc.integer({ min: 1, max: 65_535 })).map(([one, port]) => `${one}:${port}`),
  name.map((one) => `dnssrv+_http._tcp.${one}`),
);

describe('the parser of upstreams', () => {
  it('throws nothing but errors of ours, whatever text it gets', () => {
    fc.assert(
      fc.property(text, text, (endpoints, identity) => {
        expect(
          isOurs(refused({ INMESH_UPSTREAM_X: endpoints, INMESH_UPSTREAM_X_IDENTITY: identity }, undefined)),
        ).toBe(true);
      }),
    );
  });

  it('throws nothing but errors of ours, whatever value it gets', () => {
    const key = fc.constantFrom(
      'endpoints',
      'identity',
      'rules',
      'calls',
      'retry',
      'outlier',
      'host',
      'kind',
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true }),
        fc.dictionary(key, tie('value'), { maxKeys: 3 }),
        fc.array(tie('value'), { maxLength: 2 }),
      ),
    }));
    fc.assert(
      fc.property(value, value, (upstream, routes) => {
        expect(isOurs(refused({}, { upstreams: { x: upstream }, routes: { x: routes } }))).toBe(true);
      }),
    );
  });

  it('prints what it parses', () => {
    fc.assert(
      fc.property(fc.array(item, { minLength: 1, maxLength: 5 }), (items) => {
        const given = items.join(',');
        const { upstreams } = resolveConfig({
          env: { INMESH_SERVICE_NAME: 'web', INMESH_UPSTREAM_X: given },
          cwd: '/nonexistent',
        }).values;
        const [upstream] = upstreams.values();
        const specs: readonly EndpointSpec[] =
          upstream?.endpoints.kind === 'specs' ? upstream.endpoints.specs : [];
        expect(specs).toHaveLength(items.length);
        expect(upstream === undefined ? '' : printEndpoints(upstream)).toBe(given);
      }),
    );
  });
});
