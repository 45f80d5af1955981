import type { MeshError } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import { type MeshSettings, type ResolvedConfig, resolveConfig } from '../src/index.js';

const resolve = (env: Record<string, string>, code?: MeshSettings): ResolvedConfig =>
  resolveConfig({ env: { INMESH_SERVICE_NAME: 'web', ...env }, code, cwd: '/nonexistent' });
const fault = (env: Record<string, string>, code?: MeshSettings): MeshError => {
  try {
    resolve(env, code);
  } catch (error) {
    return error as MeshError;
  }
  throw new Error('nothing was refused');
};

describe('settings of which no value is the stricter', () => {
  it.each([
    ['policyDir', 'INMESH_POLICY_DIR'],
    ['configFile', 'INMESH_CONFIG'],
  ])('must agree: %s', (key, variable) => {
    const resolved = (code: string, env: string) =>
      resolveConfig({
        code: { serviceName: 'web', [key]: code } as MeshSettings,
        env: { [variable]: env },
        cwd: '/nonexistent',
      });
    expect(() => resolved('/etc/loose', '/etc/strict')).toThrow(
      `code and ${variable} differ in ${key}: what one of them guards the other would drop; say it once`,
    );
    expect(resolved('/etc/same', '/etc/same').values).toHaveProperty(key, '/etc/same');
  });
});

describe('configuration', () => {
  it('has defaults, and says where each value came from', () => {
    const { values, provenance } = resolve(
      { INMESH_MTLS: 'permissive' },
      { sniffTimeout: '2s', namespace: 'shop' },
    );
    expect(values).toMatchObject({
      mtls: 'permissive',
      sniffTimeout: 2000,
      namespace: 'shop',
      trustDomain: 'dev.local',
      labels: { app: 'web' },
      probePaths: [],
    });
    expect([provenance.get('mtls'), provenance.get('sniffTimeout'), provenance.get('trustDomain')]).toEqual([
      'INMESH_MTLS',
      'code',
      'default',
    ]);
  });

  it('names services by OTEL_SERVICE_NAME, and refuses to have no name', () => {
    expect(
      resolveConfig({ env: { OTEL_SERVICE_NAME: 'cart' }, cwd: '/nonexistent' }).values.serviceName,
    ).toBe('cart');
    expect(() => resolveConfig({ env: {}, cwd: '/nonexistent' })).toThrow('set INMESH_SERVICE_NAME');
  });

  it('refuses unknown variables and options with the nearest name', () => {
    expect(fault({ INMESH_MLTS: 'strict' })).toMatchObject({
      code: 'INMESH_ERR_CONFIG_UNKNOWN',
      message: 'there is no variable INMESH_MLTS; did you mean INMESH_MTLS?',
    });
    expect(fault({}, { mlts: 'strict' } as never).message).toBe(
      'there is no option "mlts"; did you mean mtls?',
    );
  });

  it.each(['INMESH_UPSTREAM', 'INMESH_UPSTREAM_', 'INMESH_UPSTREAMS', 'INMESH_UPSTREAMS_'])(
    'says how an upstream is named, for %s',
    (name) => {
      expect(fault({ [name]: 'h:1' })).toMatchObject({
        code: 'INMESH_ERR_CONFIG_UNKNOWN',
        message: `there is no variable ${name}; an upstream is named: INMESH_UPSTREAM_<NAME>=host:port`,
      });
    },
  );

  it.each([
    ['INMESH_UPSTREAM_X', 'h:1,,h:2', 'item 2 of 3 is empty'],
    ['INMESH_UPSTREAM_X', 'h:1,', 'item 2 of 2 is empty'],
    ['INMESH_UPSTREAM_X', ',h:1', 'item 1 of 2 is empty'],
    ['INMESH_ALLOW', 'web, ,cart', 'item 2 of 3 is empty'],
    ['INMESH_ALLOW', 'web,', 'item 2 of 2 is empty'],
    ['INMESH_ALLOW', ',', 'names nobody'],
    ['INMESH_LABELS', 'a=b,', 'item 2 of 2 is empty'],
    ['INMESH_LABELS', ' ', 'names no label'],
    ['INMESH_PROBE_PATHS', '/a,,/b', 'item 2 of 3 is empty'],
    ['INMESH_PROBE_PATHS', ',', 'names no path'],
    ['INMESH_RETRY_ON', 'reset,', 'item 2 of 2 is empty'],
    ['INMESH_RETRY_ON', ' ', 'names no condition'],
  ])('refuses %s="%s": an empty item of a list is a variable that was not set', (variable, text, message) => {
    const error = fault({ [variable]: text });
    expect(error.code).toBe('INMESH_ERR_CONFIG_INVALID');
    expect(error.message).toContain(variable);
    expect(error.message).toContain(`: ${message}`);
  });

  it('refuses empty items of identities, and of lists in code', () => {
    expect(fault({ INMESH_UPSTREAM_X: 'h:1', INMESH_UPSTREAM_X_IDENTITY: 'a,' }).message).toBe(
      'INMESH_UPSTREAM_X_IDENTITY: item 2 of 2 is empty; name what is missing, or leave out the comma at the end',
    );
    expect(fault({ INMESH_UPSTREAM_X: 'h:1', INMESH_UPSTREAM_X_IDENTITY: ',' }).message).toContain(
      'names no identity',
    );
    expect(fault({}, { allow: 'web,,cart' }).message).toBe(
      'option allow: item 2 of 3 is empty; name what is missing, or leave out its comma',
    );
    expect(fault({}, { upstreams: { x: 'h:1,' } }).message).toContain('item 2 of 2 is empty');
    expect(fault({}, { retryOn: 'reset,' }).message).toContain('item 2 of 2 is empty');
  });

  it('names every problem at once', () => {
    const { message } = fault({
      INMESH_MTLS: 'yes',
      INMESH_SNIFF_TIMEOUT: '3',
      INMESH_MAX_CONNECTIONS: '-1',
    });
    expect(message.split('\n')).toHaveLength(3);
    expect(message).toContain('INMESH_MTLS="yes": must be one of strict, permissive, disable');
  });

  it('takes an empty variable for none, except where it guards something', () => {
    expect(resolve({ INMESH_SNIFF_TIMEOUT: '' }).values.sniffTimeout).toBe(3000);
    for (const name of [
      'INMESH_MTLS',
      'INMESH_AUTHZ_DEFAULT',
      'INMESH_POLICY_DIR',
      'INMESH_ALLOW',
      'INMESH_CERT_FILE',
      'INMESH_KEY_FILE',
      'INMESH_CA_FILE',
      'INMESH_UPSTREAM_X',
      'INMESH_UPSTREAM_X_IDENTITY',
    ])
      expect(fault({ [name]: '' }).message).toContain(`${name} is empty`);
    expect(fault({}, { certFile: '', keyFile: 'k', caFile: 'c' }).message).toContain('option certFile: ""');
  });

  it('passes over what Kubernetes injects, by the shape of its value', () => {
    const injected = {
      INMESH_WEB_SERVICE_HOST: '10.0.0.1',
      INMESH_WEB_SERVICE_PORT: '80',
      INMESH_WEB_SERVICE_PORT_HTTP: '80',
      INMESH_WEB_PORT: 'tcp://10.0.0.1:80',
      INMESH_WEB_PORT_80_TCP: 'tcp://10.0.0.1:80',
      INMESH_WEB_PORT_80_TCP_PROTO: 'tcp',
      INMESH_WEB_PORT_80_TCP_PORT: '80',
      INMESH_WEB_PORT_80_TCP_ADDR: 'fd00::1',
      INMESH_UPSTREAM_ORDERS_SERVICE_HOST: '10.0.0.1',
    };
    expect(resolve(injected).values.upstreams.size).toBe(0);
    expect(fault({ INMESH_WEB_SERVICE_HOST: 'orders' }).code).toBe('INMESH_ERR_CONFIG_UNKNOWN');
    expect(fault({ INMESH_WEB_PORT: '80' }).code).toBe('INMESH_ERR_CONFIG_UNKNOWN');
  });

  it('makes one ALLOW policy of INMESH_ALLOW', () => {
    const { allow } = resolve({ INMESH_ALLOW: 'storefront, billing/*, spiffe://x/y' }).values;
    expect(allow?.rules[0]?.from?.[0]?.principals).toEqual([
      'dev.local/ns/default/sa/storefront',
      'dev.local/ns/billing/sa/*',
      'x/y',
    ]);
    for (const bad of ['a/b/c', 'Web', 'a b', '*/x', ' '])
      expect(fault({ INMESH_ALLOW: bad }).code).toBe('INMESH_ERR_CONFIG_INVALID');
  });

  it.each([
    'spiffe://',
    'spiffe://*',
    'spiffe://x',
    'spiffe://x y',
    'spiffe://x/y z',
    'spiffe://x/*/y',
    'spiffe://x/y*',
    'spiffe://X/y',
    'spiffe:///y',
  ])('refuses %s in INMESH_ALLOW: it names nobody, or everybody by accident', (bad) => {
    expect(fault({ INMESH_ALLOW: `web,${bad}` })).toMatchObject({
      code: 'INMESH_ERR_CONFIG_INVALID',
      message: expect.stringContaining(`INMESH_ALLOW: "${bad}"`),
    });
  });

  it('allows everybody below a SPIFFE ID, and names every wrong item of INMESH_ALLOW', () => {
    const { allow } = resolve({ INMESH_ALLOW: 'spiffe://x/*,spiffe://x/ns/a/*' }).values;
    expect(allow?.rules[0]?.from?.[0]?.principals).toEqual(['x/*', 'x/ns/a/*']);
    expect(fault({ INMESH_ALLOW: 'A,b,spiffe://' }).message.split('\n')).toEqual([
      expect.stringContaining('INMESH_ALLOW: "A"'),
      expect.stringContaining('INMESH_ALLOW: "spiffe://"'),
    ]);
  });

  it('suggests options that others check, too', () => {
    expect(() =>
      resolveConfig({
        env: {},
        code: { serviceName: 'web', layres: {} } as MeshSettings,
        cwd: '/nonexistent',
        otherOptions: ['layers'],
      }),
    ).toThrow('there is no option "layres"; did you mean layers?');
  });

  it.each([new Map([['a', 'h:1']]), ['a:1'], null, 'a:1'])('takes no %o for an object', (value) => {
    for (const key of ['upstreams', 'routes', 'labels'])
      expect(fault({}, { [key]: value } as never).message).toContain(`option ${key}`);
  });

  it('wants the three identity files together', () => {
    expect(fault({ INMESH_CERT_FILE: 'a' }).message).toContain(
      'belong together; INMESH_CERT_FILE alone says nothing',
    );
    expect(fault({ INMESH_CERT_FILE: 'a' }, { keyFile: 'b' }).message).toContain(
      'INMESH_CERT_FILE and option keyFile alone say nothing',
    );
    expect(fault({ INMESH_IDENTITY: 'files' }).message).toContain('needs');
    expect(
      fault({ INMESH_IDENTITY: 'dev', INMESH_CERT_FILE: 'a', INMESH_KEY_FILE: 'b', INMESH_CA_FILE: 'c' })
        .message,
    ).toContain('does not read');
  });
});
