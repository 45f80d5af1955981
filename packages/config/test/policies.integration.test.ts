import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AuthorizationPolicy, type MeshError, silentLogger } from '@inmesh/core';
import { createManualRuntime, type ManualRuntime } from '@inmesh/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createPolicyDirectory,
  type PolicyDirectory,
  parsePolicies,
  parsePolicyObject,
} from '../src/policies.js';

const head = 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\n';
const deny = (path: string): string =>
  `${head}spec:\n  action: DENY\n  rules:\n  - to:\n    - operation:\n        paths: ["${path}"]\n`;
const fault = (text: string): MeshError => {
  try {
    parsePolicies(text, 'p.yaml', { namespace: 'shop' });
  } catch (error) {
    return error as MeshError;
  }
  throw new Error('nothing was refused');
};

describe('policy files', () => {
  it('gives each rule its place and the workload its namespace', () => {
    const [one] = parsePolicies(deny('/admin'), 'p.yaml', { namespace: 'shop' });
    expect(one).toMatchObject({
      name: 'p',
      namespace: 'shop',
      action: 'DENY',
      rules: [{ to: [{ paths: ['/admin'] }], origin: { source: 'p.yaml', line: 8, column: 5 } }],
    });
  });

  it('shows an unknown field with its place and the nearest name', () => {
    const { code, message } = fault(deny('/admin').replace('paths', 'path'));
    expect(code).toBe('INMESH_ERR_POLICY_INVALID');
    expect(message).toMatch(
      /^error\[INMESH_ERR_POLICY_INVALID\]: unknown field "path"; did you mean "paths"\?\n/,
    );
    expect(message).toContain('--> p.yaml:10:9\n');
    expect(message).toContain('10 |         path: ["/admin"]\n   |         ^^^^\n');
  });

  it.each([
    ['a: 1', 'apiVersion'],
    ['', 'no policy'],
    ['{', 'p.yaml:1'],
    [`${head}spec:\n  action: DENI\n`, '"ALLOW" | "DENY"'],
    [`${head}spec:\n  rules:\n  - to: [{operation: {ports: [80]}}]\n`, 'expected string, found 80'],
    [`${head}${head}`, 'unique'],
    ['- 1', 'apiVersion'],
  ])('refuses %j', (text, message) => {
    expect(fault(text)).toMatchObject({
      code: 'INMESH_ERR_POLICY_INVALID',
      message: expect.stringContaining(message),
    });
  });

  // Each would be read as a rule for everybody, or as a selector of every workload.
  it.each([
    ['spec: {rules: [[]]}', 'found Array', 5],
    ['spec: {rules: [{from: [[]]}]}', 'found Array', 5],
    ['spec: {rules: [{from: [{source: []}]}]}', 'found Array', 5],
    ['spec: []', 'found Array', 5],
    ['spec: {selector: []}', 'found Array', 5],
    ['spec: {selector: {matchLabels: []}}', 'found Array', 5],
    [
      'spec: {selector: {matchLabels: {constructor: lego}}, rules: [{}]}',
      '"constructor" cannot be a name',
      5,
    ],
    ['spec: {selector: {matchLabels: {prototype: x}}, rules: [{}]}', '"prototype" cannot be a name', 5],
    ['spec: {selector: {matchLabels: {__proto__: x}}, rules: [{}]}', '"__proto__" cannot be a name', 5],
    ['spec: {rules: [{}]}\nmetadata2: 1', 'unknown field', 6],
  ])('is no open door: %s', (spec, message, line) => {
    const error = fault(head + spec);
    expect(error).toMatchObject({
      code: 'INMESH_ERR_POLICY_INVALID',
      message: expect.stringContaining(message),
      details: { line },
    });
  });

  it.each(['- 2001-01-01', '- !!set {? from}', '- !!omap [{from: [{source: {principals: [a]}}]}]'])(
    'takes no other schema of YAML for a rule for everybody: %s',
    (rule) => {
      expect(fault(`%YAML 1.1\n---\n${head}spec:\n  rules:\n  ${rule}\n`)).toMatchObject({
        code: 'INMESH_ERR_POLICY_INVALID',
      });
    },
  );

  it.each([[[]], [new Date()], [new Map([['from', []]])], [Promise.resolve({})], [new (class Rule {})()]])(
    'takes nothing but a plain object of code for a rule: %o',
    (rule) => {
      const policy = { metadata: { name: 'p' }, spec: { rules: [rule] } };
      expect(() => parsePolicyObject(policy, 'policies[0]', { namespace: 'shop' })).toThrow(/found/);
    },
  );

  it('names a namespace that can be one', () => {
    expect(fault(`${head}  namespace: ''\nspec: {rules: [{}]}\n`)).toMatchObject({
      code: 'INMESH_ERR_POLICY_INVALID',
      message: expect.stringContaining('must be a Kubernetes namespace'),
    });
  });

  it.each([
    ['spec: {action: CUSTOM, provider: {name: x}}', 'action: CUSTOM'],
    ['spec: {rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]}', 'requestPrincipals'],
    ['spec: {targetRefs: []}', 'targetRefs'],
  ])('refuses what is not built: %s', (spec, field) => {
    expect(fault(head + spec)).toMatchObject({
      code: 'INMESH_ERR_POLICY_UNSUPPORTED',
      message: expect.stringContaining(field),
    });
  });
});

describe('policy directory', () => {
  let dir: string;
  let runtime: ManualRuntime;
  let directory: PolicyDirectory | undefined;
  const lines: string[] = [];
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-policies-'));
    runtime = createManualRuntime();
    lines.length = 0;
  });
  afterEach(async () => {
    directory?.close();
    await rm(dir, { recursive: true, force: true });
  });
  const start = (at = dir): PolicyDirectory => {
    const check = (policies: readonly AuthorizationPolicy[]): void => {
      if (policies.some((one) => one.rules.some((rule) => rule.to?.[0]?.paths?.includes('/bad'))))
        throw new Error('cannot be enforced');
    };
    directory = createPolicyDirectory({
      dir: at,
      namespace: 'shop',
      check,
      runtime,
      logger: { ...silentLogger, error: (fields) => lines.push(String((fields['error'] as Error).message)) },
    });
    return directory;
  };
  /** Polls until `until` holds; file reads are real, so each poll is given time. */
  const poll = async (until: () => boolean): Promise<void> => {
    // Bounded by the time a test may take.
    while (!until()) {
      await runtime.advance(50);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const paths = (): unknown =>
    directory?.current().flatMap((one) => one.rules.flatMap((rule) => rule.to?.[0]?.paths));

  it('follows changes, keeps the last good set, and says why', async () => {
    await writeFile(join(dir, 'a.yaml'), deny('/a'));
    const source = start();
    await source.ready();
    expect(paths()).toEqual(['/a']);
    await writeFile(join(dir, 'a.yaml'), deny('/b'));
    await poll(() => JSON.stringify(paths()) === '["/b"]');
    await writeFile(join(dir, 'a.yaml'), deny('/bad'));
    await poll(() => lines.some((line) => line.includes('cannot be enforced')));
    await writeFile(join(dir, 'a.yaml'), '');
    await poll(() => lines.some((line) => line.includes('no policy')));
    await rm(join(dir, 'a.yaml'));
    await poll(() => lines.some((line) => line.includes('holds no policy file')));
    await rm(dir, { recursive: true });
    await poll(() => lines.some((line) => line.includes('ENOENT')));
    expect(paths()).toEqual(['/b']);
    await mkdir(dir);
    await writeFile(
      join(dir, 'c.json'),
      JSON.stringify({
        apiVersion: 'security.istio.io/v1',
        kind: 'AuthorizationPolicy',
        metadata: { name: 'c' },
        spec: { rules: [{ to: [{ operation: { paths: ['/c'] } }] }] },
      }),
    );
    await poll(() => JSON.stringify(paths()) === '["/c"]');
  });

  it('follows the ..data swap of a Kubernetes volume', async () => {
    for (const [version, path] of [
      ['v1', '/one'],
      ['v2', '/two'],
    ] as const) {
      await mkdir(join(dir, version));
      await writeFile(join(dir, version, 'a.yaml'), deny(path));
    }
    await symlink('v1', join(dir, '..data'));
    await symlink('..data/a.yaml', join(dir, 'a.yaml'));
    await start().ready();
    expect(paths()).toEqual(['/one']);
    await symlink('v2', join(dir, '..new'));
    await rename(join(dir, '..new'), join(dir, '..data'));
    await poll(() => JSON.stringify(paths()) === '["/two"]');
  });

  it.each(['missing', 'empty', 'invalid'])('is gone when it is %s at start', async (what) => {
    if (what === 'invalid') await writeFile(join(dir, 'a.yaml'), 'kind: x');
    await expect(start(what === 'missing' ? join(dir, 'none') : dir).ready()).rejects.toHaveProperty(
      'code',
      expect.stringMatching(/^INMESH_ERR_POLICY_/),
    );
  });
});
