import { X509Certificate } from 'node:crypto';
import { silentLogger } from '@inmesh/core';
import { createManualRuntime, type ManualRuntime } from '@inmesh/core/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createDialer,
  createStaticIdentity,
  createTlsFrontEnd,
  type StaticIdentitySource,
} from '../src/index.js';
import { createTestCa, type Minted, type TestCa } from '../src/testing.js';
import { clientContext, secureContextOptions } from '../src/tls-options.js';

const logger = silentLogger;
const startMs = 1_700_000_000_000;
const gone = { code: 'INMESH_ERR_IDENTITY_GONE' };
let ca: TestCa;
let svid: Minted;

beforeAll(async () => {
  ca = await createTestCa('a.test', startMs);
  svid = await ca.issue('/ns/default/sa/web', { notAfterMs: startMs + 60_000 });
});

const bundles = (...authorities: readonly TestCa[]): Map<string, string> =>
  new Map(authorities.map((one) => [one.trustDomain, one.bundlePem]));

/** Time that passes while timers stand still, as they do in a suspended machine. */
function createSuspended(): ManualRuntime {
  const runtime = createManualRuntime({ wallMs: startMs });
  return { ...runtime, arm: () => {}, armed: 0 };
}

const start = (runtime: ManualRuntime): StaticIdentitySource =>
  createStaticIdentity({ ...svid, bundles: bundles(ca), runtime, logger });

describe('the end of our own certificate', () => {
  it('[row 30] ends the identity by its timer', async () => {
    const runtime = createManualRuntime({ wallMs: startMs });
    const source = start(runtime);
    const seen: string[] = [];
    source.subscribe(({ kind }) => seen.push(kind));
    await runtime.advance(59_999);
    expect(source.state.kind).toBe('ready');
    await runtime.advance(1);
    expect(seen).toEqual(['ready', 'gone']);
    expect(runtime.armed).toBe(0);
  });

  const uses: readonly [string, (source: StaticIdentitySource) => unknown][] = [
    ['current', (source) => expect(() => source.current()).toThrow(expect.objectContaining(gone))],
    ['state', (source) => expect(source.state).toMatchObject({ kind: 'gone', error: gone })],
    ['subscribe', (source) => source.subscribe((state) => expect(state).toMatchObject({ kind: 'gone' }))],
    ['ready', (source) => expect(source.ready()).rejects.toMatchObject(gone)],
  ];
  it.each(uses)('[row 30] ends the identity on use although timers are late: %s', async (_what, use) => {
    const runtime = createSuspended();
    const source = start(runtime);
    const seen: string[] = [];
    source.subscribe(({ kind }) => seen.push(kind));
    await runtime.advance(60_000);
    await use(source);
    expect(seen).toEqual(['ready', 'gone']);
    expect(source.state.kind).toBe('gone');
    expect(seen).toHaveLength(2);
  });

  it('[row 30] closes both ways although timers are late, until a successor comes', async () => {
    const runtime = createSuspended();
    const source = start(runtime);
    const frontEnd = createTlsFrontEnd({ source, runtime, logger });
    const dialer = createDialer({ source, runtime, logger });
    await runtime.advance(60_000);
    const { PassThrough } = await import('node:stream');
    const socket = new PassThrough();
    frontEnd.accept(socket as never, () => {});
    expect(socket.destroyed).toBe(true);
    const error = await new Promise((resolve) => {
      const options = { expect: [], alpn: [], cluster: 'orders', address: '127.0.0.1:1' };
      dialer.secure(new PassThrough() as never, options, resolve);
    });
    expect(error).toMatchObject(gone);
    const next = await ca.issue('/ns/default/sa/web');
    source.update({ ...next, bundles: bundles(ca) });
    expect(source.current().generation).toBe(2);
  });
});

describe('an identity of our own', () => {
  const runtime = createManualRuntime({ wallMs: startMs });
  const invalid = expect.objectContaining({ code: 'INMESH_ERR_CERTIFICATE_INVALID' });

  it('[row 14] is refused when its parts do not fit, and the one before stays', async () => {
    const source = start(runtime);
    const { serial } = source.current().svid;
    const stranger = await createTestCa('a.test', startMs);
    const other = await ca.issue('/ns/default/sa/other');
    const issue = (faults: Parameters<TestCa['issue']>[1]): Promise<Minted> => ca.issue('/x', faults);
    const wrong: readonly (Minted & { bundles: Map<string, string> })[] = [
      { certPem: svid.certPem, keyPem: other.keyPem, bundles: bundles(ca) },
      { certPem: '', keyPem: svid.keyPem, bundles: bundles(ca) },
      { certPem: svid.certPem, keyPem: '', bundles: bundles(ca) },
      { ...svid, bundles: new Map() },
      { ...svid, bundles: new Map([['a.test', '']]) },
      { ...svid, bundles: bundles(stranger) },
      { ...svid, bundles: new Map([['b.test', ca.bundlePem]]) },
      { ...svid, bundles: new Map([['a.test', svid.certPem]]) },
      { ...svid, bundles: new Map([['a.test', ca.bundlePem.repeat(65)]]) },
      { ...(await issue({ uris: ['spiffe://b.test/x'] })), bundles: bundles(ca) },
      { ...(await issue({ uris: [] })), bundles: bundles(ca) },
      { ...(await issue({ isCa: true })), bundles: bundles(ca) },
      { ...(await issue({ notAfterMs: startMs })), bundles: bundles(ca) },
      { ...(await issue({ notBeforeMs: startMs + 5000 })), bundles: bundles(ca) },
    ];
    for (const identity of wrong) expect(() => source.update(identity)).toThrow(invalid);
    expect(source.current().svid.serial).toBe(serial);
    expect(source.current().generation).toBe(1);
  });

  it('counts what replaced it and what was refused, by what differs from what is in force', async () => {
    const source = start(runtime);
    const counts = (): readonly number[] =>
      [source.rotations.svid, source.rotations.root].flatMap(({ success, failure }) => [success, failure]);
    const other = await createTestCa('a.test', startMs);
    const [second, stranger] = [
      await ca.issue('/ns/default/sa/web'),
      await other.issue('/ns/default/sa/web'),
    ];
    const refuse = (identity: Parameters<typeof source.update>[0]): void =>
      expect(() => source.update(identity)).toThrow(invalid);
    source.update({ ...svid, bundles: bundles(ca) });
    expect(counts()).toEqual([0, 0, 0, 0]);
    source.update({ ...second, bundles: bundles(ca) });
    expect(counts()).toEqual([1, 0, 0, 0]);
    // One more authority, then one less.
    const both = new Map([['a.test', ca.bundlePem + other.bundlePem]]);
    source.update({ ...second, bundles: both });
    expect(counts()).toEqual([1, 0, 1, 0]);
    source.update({ ...stranger, bundles: bundles(other) });
    expect(counts()).toEqual([2, 0, 2, 0]);
    refuse({ ...second, bundles: bundles(other) });
    expect(counts()).toEqual([2, 1, 2, 0]);
    refuse({ ...stranger, bundles: bundles(ca) });
    expect(counts()).toEqual([2, 1, 2, 1]);
    refuse({ ...stranger, bundles: new Map([...bundles(other), ['b.test', 'nonsense']]) });
    refuse({ certPem: stranger.certPem, keyPem: second.keyPem, bundles: bundles(other) });
    expect(counts()).toEqual([2, 2, 2, 2]);
    refuse({ ...svid, bundles: bundles(other, await createTestCa('b.test', startMs)) });
    expect(counts()).toEqual([2, 3, 2, 3]);
  });

  it('counts a certificate that has expired and is given again as one that was refused', async () => {
    const suspended = createSuspended();
    const source = start(suspended);
    await suspended.advance(60_000);
    expect(() => source.update({ ...svid, bundles: bundles(ca) })).toThrow(invalid);
    expect(source.rotations).toEqual({
      svid: { success: 0, failure: 1 },
      root: { success: 0, failure: 0 },
    });
  });

  it('[row 14] is refused when OpenSSL cannot read an authority or one of its chain', () => {
    const [begin = '', body = ''] = ca.bundlePem.split(/(?<=BEGIN CERTIFICATE-----\n)/);
    const der = Buffer.from(body.replaceAll(/-----.*|\s/g, ''), 'base64');
    // The SET around the common name becomes something else, of which our reader takes no notice.
    der[der.indexOf(Buffer.from('0603550403', 'hex')) - 4] = 0;
    const unread = `${begin}${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
    const source = start(runtime);
    const both = new Map([['a.test', unread + ca.bundlePem]]);
    expect(() => source.update({ ...svid, bundles: both })).toThrow(invalid);
    const certPem = svid.certPem + unread;
    expect(() => source.update({ ...svid, certPem, bundles: bundles(ca) })).toThrow(invalid);
    expect(source.current().generation).toBe(1);
  });

  it('[row 23] has a chain of at most 8, and a search for its root that ends', async () => {
    const intermediates = await Promise.all(
      Array.from({ length: 8 }, () =>
        ca.issue('', { uris: ['spiffe://a.test'], commonName: 'same', isCa: true }),
      ),
    );
    const leaf = await ca.issue('/x', { issuer: intermediates[0] as Minted });
    const chain = (count: number): Minted => ({
      certPem:
        leaf.certPem +
        intermediates
          .slice(0, count)
          .map((one) => one.certPem)
          .join(''),
      keyPem: leaf.keyPem,
    });
    const source = createStaticIdentity({ ...chain(7), bundles: bundles(ca), runtime, logger });
    expect(source.current().svid.chain).toHaveLength(8);
    expect(() => source.update({ ...chain(8), bundles: bundles(ca) })).toThrow(invalid);
    const stranger = await createTestCa('a.test', startMs);
    expect(() => source.update({ ...chain(7), bundles: bundles(stranger) })).toThrow(invalid);
  });

  it('[row 9] makes one set of options for both sides, whole at every rotation', async () => {
    const source = start(runtime);
    for (let generation = 1; generation < 4; generation++) {
      const snapshot = source.current();
      expect(snapshot.generation).toBe(generation);
      const options = secureContextOptions(snapshot, startMs);
      expect(Object.keys(options).sort()).toEqual([
        'ca',
        'cert',
        'ecdhCurve',
        'key',
        'maxVersion',
        'minVersion',
        'secureOptions',
      ]);
      expect(options).toMatchObject({ minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' });
      expect((options.ca as string[]).length).toBe(2);
      expect(clientContext(snapshot, startMs)).toBe(clientContext(snapshot, startMs));
      const next = await ca.issue('/ns/default/sa/web');
      source.update({ ...next, bundles: bundles(ca) });
    }
  });

  it('[row 1] keeps authorities out of the trust store: only constrained copies are in it', () => {
    const { ca: store } = secureContextOptions(start(runtime).current(), startMs);
    const root = new X509Certificate(ca.bundlePem);
    for (const pem of store as string[])
      expect(new X509Certificate(pem).fingerprint256).not.toBe(root.fingerprint256);
  });

  it('[row 31] prefers the hybrid group where the runtime has it', () => {
    const { ecdhCurve } = secureContextOptions(start(runtime).current(), startMs);
    const hasHybrid = Number(process.versions.node.split('.')[0]) >= 22;
    expect(ecdhCurve).toBe(hasHybrid ? 'X25519MLKEM768:X25519:P-256' : 'X25519:P-256');
  });
});
