import { once } from 'node:events';
import { chmod, mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls, { connect } from 'node:tls';
import { type MeshError, parseSpiffeId, silentLogger, systemRuntime } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { securedFacts } from '../src/connection-facts.js';
import {
  clientAlpn,
  createDialer,
  createFileIdentity,
  createStaticIdentity,
  createTlsFrontEnd,
  type FirstBytes,
  type IdentitySource,
  Sniffer,
} from '../src/index.js';
import { createTestCa, type Minted, type TestCa } from '../src/testing.js';
import { cleanUp, cleanups, foreign, type Service, startService } from './service.js';

const runtime = systemRuntime;
const logger = silentLogger;
const wallMs = performance.timeOrigin + performance.now();
const orders = 'spiffe://a.test/ns/default/sa/orders';
let ca: TestCa;
let other: TestCa;

beforeEach(async () => {
  [ca, other] = await Promise.all([createTestCa('a.test'), createTestCa('b.test')]);
});
afterEach(cleanUp);

const bundles = (...authorities: readonly TestCa[]): Map<string, string> =>
  new Map(authorities.map((one) => [one.trustDomain, one.bundlePem]));
const pair = ({ certPem, keyPem }: Minted): { cert: string; key: string } => ({ cert: certPem, key: keyPem });
const chain = (leaf: Minted, ...above: readonly Minted[]): { cert: string; key: string } => ({
  cert: [leaf, ...above].map(({ certPem }) => certPem).join(''),
  key: leaf.keyPem,
});
const closed = (socket: Socket): Promise<void> =>
  socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once('close', () => resolve()));
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Dialed {
  readonly error: MeshError | undefined;
  /** What the server said. */
  readonly text: string;
}

/** One source and one dialer of a service account, for several dials. */
async function createClient(name: string): Promise<(port: number, expected?: string) => Promise<Dialed>> {
  const svid = await ca.issue(`/ns/default/sa/${name}`);
  const source = createStaticIdentity({ ...svid, bundles: bundles(ca), runtime, logger });
  const dialer = createDialer({ source, runtime, logger });
  cleanups.push(
    () => source.close(),
    () => dialer.close(),
  );
  return (port, expected = orders) =>
    new Promise((resolve) => {
      dialer.dial(
        {
          host: '127.0.0.1',
          port,
          expect: [parseSpiffeId(expected)],
          alpn: clientAlpn.http1,
          cluster: 'orders',
        },
        (error, socket) => {
          if (socket === undefined) {
            resolve({ error, text: '' });
            return;
          }
          let text = '';
          socket.on('data', (chunk: Buffer) => (text += chunk.toString().trim()));
          socket.on('close', () => resolve({ error, text }));
          socket.on('error', () => {});
        },
      );
    });
}

describe('authorities', () => {
  it('[row 2] cannot have a sub-authority speak for another trust domain', async () => {
    const service = await startService(ca, bundles(ca, other));
    const sub = (of: TestCa, uris: readonly string[]): Promise<Minted> =>
      of.issue('', { uris, commonName: 'sub', isCa: true });
    const leaf = (issuer: Minted, trustDomain: string): Promise<Minted> =>
      ca.issue('', { uris: [`spiffe://${trustDomain}/ns/x/sa/web`], issuer });
    const [own, foreignOwn, foreignEvil, foreignBare] = await Promise.all([
      sub(ca, ['spiffe://a.test']),
      sub(other, ['spiffe://b.test']),
      sub(other, ['spiffe://a.test']),
      sub(other, []),
    ]);
    const ask = async (issuer: Minted, trustDomain: string): Promise<string> =>
      (await foreign(service.port, chain(await leaf(issuer, trustDomain), issuer))).text.trim();
    expect(await ask(own, 'a.test')).toBe('spiffe://a.test/ns/x/sa/web');
    expect(await ask(foreignOwn, 'b.test')).toBe('spiffe://b.test/ns/x/sa/web');
    for (const issuer of [foreignOwn, foreignEvil, foreignBare]) expect(await ask(issuer, 'a.test')).toBe('');
  });

  it('[row 23] of one name in a long chain neither pass nor stop the server', async () => {
    const service = await startService(ca, bundles(ca));
    const noise = await Promise.all(
      Array.from({ length: 24 }, () => other.issue('', { commonName: 'a.test test CA', isCa: true })),
    );
    const stranger = await other.issue('', { uris: ['spiffe://a.test/ns/x/sa/web'] });
    const good = await ca.issue('/ns/default/sa/web');
    expect((await foreign(service.port, chain(stranger, ...noise))).text).toBe('');
    expect((await foreign(service.port, pair(good))).text).toContain('/sa/web');
  });
});

describe('sessions', () => {
  const remember = async (service: Service, client: Minted): Promise<Buffer[]> => {
    const sessions: Buffer[] = [];
    const socket = connect({
      port: service.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ...pair(client),
    });
    socket.on('session', (session: Buffer) => sessions.push(session));
    socket.on('error', () => {});
    socket.resume();
    await closed(socket);
    return sessions;
  };

  it('[row 5] [row 13] do not outlive the authority that vouched for them', async () => {
    const service = await startService(ca, bundles(ca, other));
    const client = await other.issue('/ns/default/sa/web');
    const sessions = [undefined, ...(await remember(service, client))];
    const [facts] = service.seen;
    service.source.update({ ...(await ca.issue('/ns/default/sa/orders')), bundles: bundles(ca) });
    for (const session of sessions) {
      const options = session === undefined ? {} : { session };
      expect((await foreign(service.port, { ...pair(client), ...options })).text).toBe('');
    }
    expect(service.seen).toHaveLength(1);
    expect(facts !== undefined && service.frontEnd.isStale(facts)).toBe(true);
  });

  it('[row 6] do not stand in for a certificate', async () => {
    const service = await startService(ca, bundles(ca));
    const sessions = await remember(service, await ca.issue('/ns/default/sa/web'));
    for (const session of [undefined, ...sessions])
      expect((await foreign(service.port, session === undefined ? {} : { session })).text).toBe('');
    expect(service.seen).toHaveLength(1);
  });

  it.each([
    ['is not authorized', { authorized: false }],
    ['was resumed', { isSessionReused: () => true }],
    ['has no certificate', { getPeerX509Certificate: () => undefined }],
  ])('[row 6] make no peer of a socket that %s', (_what, lie) => {
    const socket = { authorized: true, isSessionReused: () => false, ...lie };
    expect(() => securedFacts(socket as never, 1)).toThrow(
      expect.objectContaining({ code: 'INMESH_ERR_CERTIFICATE_INVALID' }),
    );
  });

  it('[row 7] do not hide that a server has another identity now', async () => {
    const service = await startService(ca, bundles(ca));
    const dial = await createClient('web');
    expect((await dial(service.port)).error).toBeUndefined();
    service.source.update({ ...(await ca.issue('/ns/default/sa/impostor')), bundles: bundles(ca) });
    expect((await dial(service.port)).error).toMatchObject({
      code: 'INMESH_ERR_PEER_IDENTITY',
      details: { found: 'spiffe://a.test/ns/default/sa/impostor' },
    });
  });

  it('[row 8] [row 28] mix up neither who calls nor whom it expects', async () => {
    const service = await startService(ca, bundles(ca));
    const [alice, bob] = [await createClient('alice'), await createClient('bob')];
    for (const [dial, name] of [
      [alice, 'alice'],
      [bob, 'bob'],
      [alice, 'alice'],
    ] as const)
      expect((await dial(service.port)).text).toBe(`spiffe://a.test/ns/default/sa/${name}`);
    const wrong = await alice(service.port, 'spiffe://a.test/ns/default/sa/payments');
    expect(wrong.error?.code).toBe('INMESH_ERR_PEER_IDENTITY');
  });
});

describe('a connection', () => {
  it('[row 13] is cut when the certificate of its peer expires', async () => {
    const clock = createManualRuntime({ wallMs });
    const service = await startService(ca, bundles(ca), { runtime: clock, hold: true });
    const client = await ca.issue('/ns/default/sa/web', { notAfterMs: wallMs + 600_000 });
    const answer = foreign(service.port, pair(client));
    while (service.seen.length === 0) await tick();
    const [facts] = service.seen;
    await clock.advance((facts?.peer?.notAfterMs ?? 0) - clock.wallMs() - 1);
    let isOver = false;
    void answer.then(() => (isOver = true));
    await tick();
    expect(isOver).toBe(false);
    await clock.advance(1);
    expect((await answer).text).toContain('/sa/web');
  });

  it('[row 24] that says nothing is cut at the deadline, and the oldest gives way to the next', async () => {
    const clock = createManualRuntime();
    const sniffer = new Sniffer(clock, { timeoutMs: 3000, maxSilent: 2 });
    const found: FirstBytes[] = [];
    const server = createServer((socket) => {
      socket.on('error', () => {});
      sniffer.sniff(socket, (what) => {
        found.push(what);
        socket.destroy();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    const open = async (): Promise<Socket> => {
      const socket = createConnection({ port, host: '127.0.0.1' });
      socket.on('error', () => {});
      socket.resume();
      await once(socket, 'connect');
      return socket;
    };
    const first = await open();
    while (sniffer.silent < 1) await tick();
    const second = await open();
    while (sniffer.silent < 2) await tick();
    const third = await open();
    await closed(first);
    expect(sniffer.silent).toBe(2);
    third.write('P');
    third.write('RI * HTTP/2.0\r\n');
    await closed(third);
    expect(found).toEqual(['http2']);
    await clock.advance(3000);
    await closed(second);
    expect(sniffer.silent).toBe(0);
  });
});

describe('code that throws', () => {
  it('[row 25] costs the connection and not the process, where a peer is handed over', async () => {
    const svid = await ca.issue('/ns/default/sa/orders');
    const source = createStaticIdentity({ ...svid, bundles: bundles(ca), runtime, logger });
    const frontEnd = createTlsFrontEnd({ source, runtime, logger });
    const server = createServer((socket) =>
      frontEnd.accept(socket, () => {
        throw new Error('boom');
      }),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(
      () => server.close(),
      () => frontEnd.close(),
      () => source.close(),
    );
    const client = await ca.issue('/ns/default/sa/web');
    expect((await foreign((server.address() as AddressInfo).port, pair(client))).text).toBe('');
  });

  it('[row 25] is not what a strange certificate leads to inside the handshake of a client', async () => {
    const dial = await createClient('web');
    for (const faults of [{ uris: [] }, { keyUsage: 0 }, { uris: ['spiffe://a.test'] }]) {
      const strange = tls.createServer({ ...pair(await ca.issue('', faults)), minVersion: 'TLSv1.3' });
      strange.on('tlsClientError', () => {});
      strange.on('secureConnection', (socket) => socket.on('error', () => {}));
      strange.listen(0, '127.0.0.1');
      await once(strange, 'listening');
      cleanups.push(() => strange.close());
      const { error } = await dial((strange.address() as AddressInfo).port);
      expect(error?.code).toBe('INMESH_ERR_PEER_IDENTITY');
    }
  });
});

describe('settings of the process', () => {
  it('[row 26] do not switch off verification or bring old versions back', async () => {
    const { env } = process;
    const before = [env['NODE_TLS_REJECT_UNAUTHORIZED'], tls.DEFAULT_MIN_VERSION] as const;
    cleanups.push(() => {
      if (before[0] === undefined) delete env['NODE_TLS_REJECT_UNAUTHORIZED'];
      else env['NODE_TLS_REJECT_UNAUTHORIZED'] = before[0];
      tls.DEFAULT_MIN_VERSION = before[1];
    });
    env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    tls.DEFAULT_MIN_VERSION = 'TLSv1';
    const service = await startService(ca, bundles(ca));
    const stranger = await createTestCa('a.test');
    const impostor = await startService(stranger, new Map([['a.test', stranger.bundlePem + ca.bundlePem]]));
    const dial = await createClient('web');
    expect((await dial(impostor.port)).error?.code).toBe('INMESH_ERR_PEER_IDENTITY');
    const nobody = await stranger.issue('/ns/default/sa/web');
    expect((await foreign(service.port, pair(nobody))).text).toBe('');
    const good = await ca.issue('/ns/default/sa/web');
    const old = await foreign(service.port, { ...pair(good), maxVersion: 'TLSv1.2' });
    expect(old).toEqual({ text: '', error: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
  });
});

describe('identity files', () => {
  async function start(): Promise<{ dir: string; source: IdentitySource; warned: string[] }> {
    const dir = await mkdtemp(join(tmpdir(), 'inmesh-'));
    const warned: string[] = [];
    const source = createFileIdentity({
      certFile: join(dir, 'c.pem'),
      keyFile: join(dir, 'k.pem'),
      caFile: join(dir, 'ca.pem'),
      pollMs: 5,
      runtime,
      logger: { ...logger, warn: (_fields, message) => warned.push(message) },
    });
    cleanups.push(
      () => rm(dir, { recursive: true }),
      () => source.close(),
    );
    return { dir, source, warned };
  }
  const write = async (dir: string, svid: Minted, mode: number): Promise<void> => {
    await writeFile(join(dir, 'k.pem'), svid.keyPem, { mode });
    await chmod(join(dir, 'k.pem'), mode);
    await writeFile(join(dir, 'ca.pem'), ca.bundlePem);
    await writeFile(join(dir, 'c.pem'), svid.certPem);
  };
  const until = (
    source: IdentitySource,
    passes: (state: IdentitySource['state']) => boolean,
  ): Promise<void> =>
    new Promise((resolve) => {
      source.subscribe((state) => {
        if (passes(state)) resolve();
      });
    });

  it('[row 15] are waited for at start, and missed later without losing the identity', async () => {
    const { dir, source } = await start();
    await until(source, (state) => state.kind === 'pending' && state.error !== undefined);
    await write(dir, await ca.issue('/ns/default/sa/web'), 0o600);
    const { svid } = await source.ready();
    await unlink(join(dir, 'c.pem'));
    await until(source, (state) => state.kind === 'ready' && state.error !== undefined);
    expect(source.current().svid.serial).toBe(svid.serial);
    await write(dir, await ca.issue('/ns/default/sa/web'), 0o600);
    await until(source, (state) => state.kind === 'ready' && state.value.generation === 2);
  });

  it.each([
    [0o600, []],
    [0o640, []],
    [0o644, ['every user of this host may read the private key']],
  ] as const)('[row 18] of mode %o are read, with the warnings %j, once', async (mode, expected) => {
    const { dir, source, warned } = await start();
    await write(dir, await ca.issue('/ns/default/sa/web'), mode);
    await source.ready();
    await write(dir, await ca.issue('/ns/default/sa/web'), mode);
    await until(source, (state) => state.kind === 'ready' && state.value.generation === 2);
    expect(warned.filter((message) => message.includes('every user'))).toEqual(expected);
  });
});
