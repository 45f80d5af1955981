import { describe, expect, it } from 'vitest';
import {
  type Cluster,
  errorSpecs,
  findName,
  grpcStatusNumber,
  httpStatusOf,
  isMeshError,
  MeshError,
  meshName,
  plainIp,
  type Snapshot,
  statusFromGrpcNumber,
  statusFromHttp,
  workloadSpiffeId,
} from '../src/index.js';

describe('MeshError', () => {
  it('takes what the table says unless told otherwise', () => {
    const cause = new Error('under');
    const plain = new MeshError('INMESH_ERR_CONNECT_FAILED', 'no', { cause });
    expect(plain).toMatchObject({ status: 'unavailable', reached: 'no', retry: 'elsewhere', cause });
    expect(
      new MeshError('INMESH_ERR_CONNECT_FAILED', 'no', { reached: 'maybe', retry: 'never' }),
    ).toMatchObject({
      reached: 'maybe',
      retry: 'never',
    });
  });

  it('is known by its brand, not its class', () => {
    const foreign = Object.assign(new Error('x'), { [Symbol.for('inmesh.error')]: true });
    expect([isMeshError(foreign), isMeshError(new Error('x')), isMeshError(null), isMeshError('x')]).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });

  it('skips the stack when asked, and only then', () => {
    const frames = (e: Error): number => (e.stack ?? '').split('\n').filter((l) => l.includes(' at ')).length;
    expect(frames(new MeshError('INMESH_ERR_CONNECTION_LIMIT', 'x', { stackless: true }))).toBe(0);
    expect(frames(new MeshError('INMESH_ERR_CONNECTION_LIMIT', 'x'))).toBeGreaterThan(0);
  });

  it('has for each code a sentence and a hint, and never allows a retry elsewhere of what may have run', () => {
    for (const spec of Object.values(errorSpecs)) {
      expect(spec.summary).toMatch(/^[A-Z].*\.$/);
      expect(spec.hint.length).toBeGreaterThan(10);
      expect(spec.retry === 'elsewhere' && (spec.reached as string) === 'maybe').toBe(false);
    }
  });
});

describe('status', () => {
  it('maps all 17 numbers there and back, others to unknown', () => {
    for (let n = 0; n <= 16; n++) expect(grpcStatusNumber(statusFromGrpcNumber(n))).toBe(n);
    expect([statusFromGrpcNumber(17), statusFromGrpcNumber(-1), statusFromGrpcNumber(1.5)]).toEqual([
      'unknown',
      'unknown',
      'unknown',
    ]);
  });

  it.each([
    [200, 'ok'],
    [304, 'ok'],
    [403, 'permission-denied'],
    [418, 'unknown'],
    [429, 'resource-exhausted'],
    [503, 'unavailable'],
    [504, 'deadline-exceeded'],
    [599, 'internal'],
  ] as const)('reads HTTP %i as %s', (http, status) => expect(statusFromHttp(http)).toBe(status));

  it('answers a denial with 403', () => expect(httpStatusOf('permission-denied')).toBe(403));
});

describe('names and addresses', () => {
  it.each([
    ['Orders', 'orders'],
    ['orders.', 'orders'],
    ['ORDERS.:8443', 'orders'],
    ['orders.billing:1', 'orders.billing'],
    ['', undefined],
    [':80', undefined],
    ['::1', undefined],
  ])('reads %s as %s', (host, name) => expect(meshName(host)).toBe(name));

  it('finds a cluster by name, and by name and own namespace', () => {
    // Only names are looked at: rules and endpoints are whatever they are.
    const cluster = {
      name: 'orders',
      identities: [workloadSpiffeId('dev.local', 'shop', 'orders')],
    } as unknown as Cluster;
    const snapshot: Snapshot = {
      version: 1,
      workload: { service: 'web', namespace: 'shop', trustDomain: 'dev.local', labels: {} },
      mtls: 'strict',
      clusters: new Map([['orders', cluster]]),
      routes: new Map(),
      policies: [],
    };
    expect(
      ['orders', 'Orders.:80', 'orders.shop', 'orders.other', 'example.com'].map((h) =>
        findName(snapshot, h),
      ),
    ).toEqual(['orders', 'orders', 'orders', undefined, undefined]);
  });

  it.each([
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:10.0.0.1', '10.0.0.1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:1', '::ffff:1'],
  ])('writes %s as %s', (address, plain) => expect(plainIp(address)).toBe(plain));
});
