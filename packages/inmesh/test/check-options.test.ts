import { isMeshError, type Layer, MeshError, silentLogger, WatchSource } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import { roundRobin } from '@inmesh/resilience';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkMeshOptions, checkServeOptions } from '../src/check-options.js';
import type { MeshOptions } from '../src/index.js';

const base = { env: {}, cwd: '/nonexistent', serviceName: 'web' };
const check = (options: unknown): unknown =>
  checkMeshOptions({ ...base, ...(options as object) } as MeshOptions);
const fault = (run: () => unknown): MeshError => {
  try {
    run();
  } catch (error) {
    if (isMeshError(error)) return error;
    throw error;
  }
  throw new Error('nothing was refused');
};
const messages = (options: unknown): readonly string[] => fault(() => check(options)).message.split('\n');

const layer: Layer = {
  role: 'audit',
  scope: 'call',
  why: 'test',
  after: ['authorize'],
  bind: () => undefined,
};
class OwnLayer implements Layer {
  readonly role = 'own';
  readonly scope = 'attempt';
  readonly why = 'test';
  readonly count = 0;
  bind(): undefined {
    return undefined;
  }
}

describe('options of createMesh', () => {
  it('are taken as they are, and become the configuration', () => {
    const svid = {
      certPem: '-----BEGIN CERTIFICATE-----',
      keyPem: '-----BEGIN PRIVATE KEY-----',
      bundles: new Map([['dev.local', '-----BEGIN CERTIFICATE-----']]),
    };
    const { values } = checkMeshOptions({
      ...base,
      env: { INMESH_ALLOW: 'a', PATH: undefined },
      svid,
      policies: [{ metadata: { name: 'a' }, spec: {} }],
      layers: { inbound: [layer, new OwnLayer()], outbound: [] },
      balancers: { a: roundRobin },
      logger: silentLogger,
      runtime: createManualRuntime(),
      upstreams: { a: { endpoints: new WatchSource() } },
      timeout: undefined,
    });
    expect(values).toMatchObject({ serviceName: 'web', allow: { action: 'ALLOW' } });
    expect(checkMeshOptions({ ...base, env: process.env }).values.serviceName).toBe('web');
  });

  it.each([
    [{ policies: {} }, 'policies is {}; it must be an array'],
    [
      { policies: 'kind: AuthorizationPolicy' },
      'policies is "kind: AuthorizationPolicy"; it must be an array',
    ],
    [{ policies: [null] }, 'policies[0] is null; it must be an AuthorizationPolicy object'],
    [{ policies: null }, 'policies is null; it must be an array'],
    [{ layers: { inboud: [layer] } }, 'layers has no "inboud"; did you mean inbound?'],
    [{ layers: [layer] }, 'it must be an object'],
    [{ layers: { inbound: layer } }, 'it must be an array'],
    [
      { layers: { inbound: [{ ...layer, befor: ['x'] }] } },
      'layers.inbound[0] has no "befor"; did you mean before?',
    ],
    [
      { layers: { inbound: [{ ...layer, scope: 'calls' }] } },
      'layers.inbound[0].scope is "calls"; it must be one of call, attempt',
    ],
    [{ layers: { inbound: [{ ...layer, bind: undefined }] } }, 'layers.inbound[0] needs "bind"'],
    [
      { layers: { inbound: [{ ...layer, after: 'authorize' }] } },
      'layers.inbound[0].after is "authorize"; it must be an array',
    ],
    [{ layers: { outbound: [() => {}] } }, 'layers.outbound[0] is'],
    [
      { upstreams: { orders: { endpoints: 'h:1', identities: 'x' } } },
      'upstreams.orders has no "identities"; did you mean identity?',
    ],
    [{ upstreams: ['a:1'] }, 'option upstreams is'],
    [{ upstreams: { a: null } }, 'upstreams.a is null; it must be an object'],
    [{ svid: {} }, 'svid needs "certPem"'],
    [{ svid: { certPem: 'x', keyPem: 5, bundles: {} } }, 'svid.keyPem must be PEM text'],
    [{ svid: { cert: 'x' } }, 'svid has no "cert"'],
    [{ allow: ['web'] }, "option allow is [ 'web' ]; it must be text"],
    [{ env: 'INMESH_MTLS=strict' }, 'env must be an object of text'],
    [{ env: { INMESH_UPSTREAM_A: 5 } }, 'env.INMESH_UPSTREAM_A must be text'],
    [{ cwd: 5 }, 'cwd is 5; it must be a path'],
    [{ balancers: { a: 'random' } }, 'balancers["a"] is "random"; it must be a function'],
    [{ logger: { info: () => {} } }, 'logger has no function "debug", "warn", "error"'],
    [{ runtime: null }, 'runtime has no function "now"'],
    [{ layres: {} }, 'there is no option "layres"; did you mean layers?'],
    [{ mlts: 'strict' }, 'there is no option "mlts"; did you mean mtls?'],
  ])('are refused when wrong: %j', (options, message) => {
    const error = fault(() => check(options));
    expect(error.code).toMatch(/^INMESH_ERR_CONFIG_/);
    expect(error.message).toContain(message);
  });

  it.each([null, 'web', [], 5, new Map()])('are refused as %o', (options) => {
    expect(fault(() => checkMeshOptions(options as never)).message).toContain(
      'the options of createMesh must be an object',
    );
  });

  it('name every problem at once, those of settings too', () => {
    const error = fault(() =>
      check({ policies: {}, mtls: 'x', timeouts: 1, upstreams: { a: null }, layers: { inboud: [] } }),
    );
    expect(error.code).toBe('INMESH_ERR_CONFIG_UNKNOWN');
    expect(error.details['problems']).toEqual(error.message.split('\n'));
    expect(error.message.split('\n')).toEqual([
      'policies is {}; it must be an array of AuthorizationPolicy objects',
      'layers has no "inboud"; did you mean inbound?',
      'there is no option "timeouts"; did you mean timeout?',
      expect.stringContaining('option mtls: "x"'),
      'upstreams.a is null; it must be an object',
    ]);
  });

  it('never show keys in errors', () => {
    const secret = '-----BEGIN PRIVATE KEY-----secret';
    for (const svid of [secret, { keyPem: [secret] }, [secret], { certPem: Buffer.from(secret) }])
      expect(messages({ svid }).join()).not.toMatch(/secret|73 65 63/);
    expect(messages({ env: { TOKEN: [secret] } }).join()).not.toContain('secret');
  });

  it('throw nothing but errors of ours, whatever they are', () => {
    const key = fc.constantFrom(
      'policies',
      'layers',
      'svid',
      'env',
      'cwd',
      'balancers',
      'logger',
      'runtime',
      'inbound',
      'bundles',
      'upstreams',
      'bind',
      '0',
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true }),
        fc.dictionary(key, tie('value'), { maxKeys: 4 }),
        fc.array(tie('value'), { maxLength: 2 }),
      ),
    }));
    fc.assert(
      fc.property(value, (options) => {
        for (const run of [
          () => check(options),
          () => checkMeshOptions(options as never),
          () => checkServeOptions(options),
        ]) {
          try {
            run();
          } catch (error) {
            if (!isMeshError(error)) throw error;
          }
        }
      }),
    );
  });
});

describe('options of serve', () => {
  it.each([
    [{ htttp2: true }, 'ServeOptions has no "htttp2"; did you mean http2?'],
    [{ http2: 'yes' }, 'ServeOptions.http2 is "yes"; it must be true or false'],
    [true, 'ServeOptions is true; it must be an object'],
    [null, 'ServeOptions is null; it must be an object'],
  ])('are refused when wrong: %j', (options, message) => {
    const error = fault(() => checkServeOptions(options));
    expect(error).toMatchObject({ code: 'INMESH_ERR_CONFIG_INVALID', message });
    expect(error).toBeInstanceOf(MeshError);
  });

  it('are taken when right', () => {
    for (const options of [{}, { http2: true }, { http2: undefined }]) checkServeOptions(options);
  });
});
