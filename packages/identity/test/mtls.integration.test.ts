import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import {
  type ConnectionFacts,
  type MeshError,
  parseSpiffeId,
  silentLogger,
  systemRuntime,
} from '@inmesh/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  clientAlpn,
  connectionFacts,
  createDialer,
  createFileIdentity,
  createStaticIdentity,
} from '../src/index.js';
import { createTestCa, type TestCa } from '../src/testing.js';
import { cleanUp, cleanups, foreign, type Service, startService } from './service.js';

const runtime = systemRuntime;
const logger = silentLogger;
let ca: TestCa;
let service: Service;

afterEach(cleanUp);

beforeEach(async () => {
  ca = await createTestCa('a.test');
  service = await startService(ca, new Map([['a.test', ca.bundlePem]]));
});

describe('TLS front end against foreign clients', () => {
  it('greets a client with a valid SVID by its SPIFFE ID (openssl)', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'inmesh-'));
    cleanups.push(() => rm(dir, { recursive: true }));
    const { certPem, keyPem } = await ca.issue('/ns/default/sa/web');
    await Promise.all([
      writeFile(join(dir, 'c.pem'), certPem),
      writeFile(join(dir, 'k.pem'), keyPem),
      writeFile(join(dir, 'ca.pem'), ca.bundlePem),
    ]);
    const openssl = spawn(
      'openssl',
      [
        's_client',
        '-connect',
        `127.0.0.1:${service.port}`,
        '-cert',
        'c.pem',
        '-key',
        'k.pem',
        '-CAfile',
        'ca.pem',
        '-quiet',
        '-verify_return_error',
      ],
      { cwd: dir, stdio: ['pipe', 'pipe', 'ignore'] },
    );
    let text = '';
    openssl.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await once(openssl, 'close');
    expect(text).toBe('spiffe://a.test/ns/default/sa/web\n');
  });

  it('[row 6] answers a client without a certificate with the certificate-required alert', async () => {
    const { text, error } = await foreign(service.port, {});
    expect({ text, error }).toEqual({ text: '', error: 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED' });
    expect(service.seen).toEqual([]);
  });

  it('[row 9] refuses TLS 1.2, also after a rotation', async () => {
    const client = await ca.issue('/ns/default/sa/web');
    const options = { cert: client.certPem, key: client.keyPem, maxVersion: 'TLSv1.2' };
    const before = await foreign(service.port, options);
    const next = await ca.issue('/ns/default/sa/orders');
    service.source.update({ ...next, bundles: new Map([['a.test', ca.bundlePem]]) });
    const after = await foreign(service.port, options);
    expect([before.error, after.error]).toEqual([
      'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
      'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
    ]);
  });

  it('[row 5] never resumes a saved session', async () => {
    const client = await ca.issue('/ns/default/sa/web');
    const options = {
      port: service.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      cert: client.certPem,
      key: client.keyPem,
    };
    const sessions: Buffer[] = [];
    const first = connect(options);
    first.on('session', (session: Buffer) => sessions.push(session));
    first.resume();
    await once(first, 'close');
    for (const session of sessions) {
      const again = connect({ ...options, session });
      again.resume();
      await once(again, 'secureConnect');
      expect(again.isSessionReused()).toBe(false);
      await once(again, 'close');
    }
  });

  const faults: readonly [string, Parameters<TestCa['issue']>[1]][] = [
    [
      '[row 5] is expired',
      { notAfterMs: performance.timeOrigin - 1000, notBeforeMs: performance.timeOrigin - 9000 },
    ],
    ['[row 3] has two URI SANs', { uris: ['spiffe://a.test/ns/x/sa/a', 'spiffe://a.test/ns/x/sa/b'] }],
    ['has no URI SAN', { uris: [], dnsNames: ['web'] }],
    ['[row 4] is a CA', { isCa: true, keyUsage: 1 }],
    ['[row 4] may sign certificates', { keyUsage: 1 | 32 }],
    ['[row 4] may sign revocation lists', { keyUsage: 1 | 64 }],
    ['has no key usage', { keyUsage: 0 }],
    ['is for clients only', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'] }],
    ['has a root-path SPIFFE ID', { uris: ['spiffe://a.test'] }],
    ['has an upper-case trust domain', { uris: ['spiffe://A.test/ns/x/sa/a'] }],
    ['[row 1] has another trust domain', { uris: ['spiffe://b.test/ns/x/sa/a'] }],
  ];
  it.each(faults)('refuses a client whose certificate: %s', async (_what, fault) => {
    const client = await ca.issue('/ns/default/sa/web', fault);
    const { text } = await foreign(service.port, { cert: client.certPem, key: client.keyPem });
    expect(text).toBe('');
    expect(service.seen).toEqual([]);
  });

  it('[row 1] refuses an identity of our trust domain from a foreign CA', async () => {
    const evil = await createTestCa('a.test');
    const client = await evil.issue('/ns/default/sa/web');
    expect((await foreign(service.port, { cert: client.certPem, key: client.keyPem })).text).toBe('');
  });

  it('[row 1] lets a federated CA vouch for its own trust domain only', async () => {
    const other = await createTestCa('b.test');
    const both = await startService(
      ca,
      new Map([
        ['a.test', ca.bundlePem],
        ['b.test', other.bundlePem],
      ]),
    );
    const good = await other.issue('/ns/default/sa/web');
    const evil = await other.issue('', { uris: ['spiffe://a.test/ns/default/sa/web'] });
    const served = await foreign(both.port, { cert: good.certPem, key: good.keyPem });
    const refused = await foreign(both.port, { cert: evil.certPem, key: evil.keyPem });
    expect([served.text, refused.text]).toEqual(['spiffe://b.test/ns/default/sa/web\n', '']);
  });

  it('[row 25] survives garbage and goes on serving', async () => {
    const { createConnection } = await import('node:net');
    const raw = createConnection({ port: service.port, host: '127.0.0.1' });
    raw.on('error', () => {});
    raw.write(Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5, 9, 9]));
    raw.resume();
    await once(raw, 'close');
    const client = await ca.issue('/ns/default/sa/web');
    expect((await foreign(service.port, { cert: client.certPem, key: client.keyPem })).text).not.toBe('');
    expect(service.frontEnd.pendingHandshakes).toBe(0);
  });
});

describe('dialer', () => {
  async function dial(
    expected: string,
    port = service.port,
  ): Promise<{ error: MeshError | undefined; facts: ConnectionFacts | undefined }> {
    const web = await ca.issue('/ns/default/sa/web');
    const source = createStaticIdentity({
      ...web,
      bundles: new Map([['a.test', ca.bundlePem]]),
      runtime,
      logger,
    });
    const dialer = createDialer({ source, runtime, logger });
    cleanups.push(
      () => source.close(),
      () => dialer.close(),
    );
    return await new Promise((resolve) => {
      dialer.dial(
        {
          host: '127.0.0.1',
          port,
          expect: [parseSpiffeId(expected)],
          alpn: clientAlpn.http1,
          cluster: 'orders',
        },
        (error, socket) => {
          const facts = connectionFacts(socket);
          socket?.destroy();
          resolve({ error, facts });
        },
      );
    });
  }

  it('connects to the expected identity', async () => {
    const { error, facts } = await dial('spiffe://a.test/ns/default/sa/orders');
    expect(error).toBeUndefined();
    expect(facts?.peer?.id.uri).toBe('spiffe://a.test/ns/default/sa/orders');
  });

  it('refuses another identity and names both', async () => {
    const { error } = await dial('spiffe://a.test/ns/default/sa/payments');
    expect(error?.code).toBe('INMESH_ERR_PEER_IDENTITY');
    expect(error?.reached).toBe('no');
    expect(error?.message).toContain('spiffe://a.test/ns/default/sa/orders');
    expect(error?.message).toContain('spiffe://a.test/ns/default/sa/payments');
  });

  it('[row 1] refuses a server of a foreign CA', async () => {
    const foreignCa = await createTestCa('a.test');
    const impostor = await startService(foreignCa, new Map([['a.test', ca.bundlePem + foreignCa.bundlePem]]));
    expect((await dial('spiffe://a.test/ns/default/sa/orders', impostor.port)).error?.code).toBe(
      'INMESH_ERR_PEER_IDENTITY',
    );
  });

  it('says when nobody listens', async () => {
    service.server.close();
    await once(service.server, 'close');
    expect((await dial('spiffe://a.test/ns/default/sa/orders')).error?.code).toBe(
      'INMESH_ERR_CONNECT_FAILED',
    );
  });
});

describe('identity files', () => {
  it('[row 20] keeps the last good triple while files are swapped one by one', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'inmesh-'));
    cleanups.push(() => rm(dir, { recursive: true }));
    const write = (name: string, text: string): Promise<void> => writeFile(join(dir, name), text);
    const first = await ca.issue('/ns/default/sa/web');
    await Promise.all([
      write('c.pem', first.certPem),
      write('k.pem', first.keyPem),
      write('ca.pem', ca.bundlePem),
    ]);
    const source = createFileIdentity({
      certFile: join(dir, 'c.pem'),
      keyFile: join(dir, 'k.pem'),
      caFile: join(dir, 'ca.pem'),
      pollMs: 5,
      runtime,
      logger,
    });
    cleanups.push(() => source.close());
    const { svid, trustEpoch } = await source.ready();
    const next = await createTestCa('a.test');
    const second = await next.issue('/ns/default/sa/web');
    const hasFailed = new Promise<void>((resolve) => {
      const stop = source.subscribe((state) => {
        if (state.kind === 'ready' && state.error !== undefined) {
          stop();
          resolve();
        }
      });
    });
    await write('c.pem', second.certPem);
    await hasFailed;
    expect(source.current().svid.serial).toBe(svid.serial);
    const hasRotated = new Promise<void>((resolve) => {
      const stop = source.subscribe((state) => {
        if (state.kind === 'ready' && state.value.svid.serial !== svid.serial) {
          queueMicrotask(() => stop());
          resolve();
        }
      });
    });
    await write('k.pem', second.keyPem);
    await write('ca.pem', next.bundlePem);
    await hasRotated;
    expect(source.current().trustEpoch).toBe(trustEpoch + 1);
  });
});
