import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { connect } from 'node:tls';
import { type LogFields, type Logger, silentLogger, systemRuntime } from '@inmesh/core';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createStaticIdentity,
  createTlsFrontEnd,
  type IdentitySnapshot,
  type IdentitySource,
  type TlsFrontEnd,
  type TlsFrontEndOptions,
} from '../src/index.js';
import { createTestCa, type Minted, type TestCa } from '../src/testing.js';

const runtime = systemRuntime;
const logger = silentLogger;
const cleanups: (() => unknown)[] = [];
let ca: TestCa;
let svid: Minted;
let bundles: ReadonlyMap<string, string>;

beforeAll(async () => {
  ca = await createTestCa('a.test');
  svid = await ca.issue('/ns/default/sa/orders');
  bundles = new Map([['a.test', ca.bundlePem]]);
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Line {
  readonly message: string;
  readonly fields: LogFields;
}

interface Service {
  readonly port: number;
  readonly frontEnd: TlsFrontEnd;
  readonly lines: Line[];
  /** Sockets accepted so far. */
  accepted(): number;
}

async function startService(options: Partial<TlsFrontEndOptions> = {}): Promise<Service> {
  const lines: Line[] = [];
  const keep = (fields: LogFields, message: string): void => void lines.push({ message, fields });
  const log: Logger = { debug: keep, info: keep, warn: keep, error: keep };
  const source = createStaticIdentity({ ...svid, bundles, runtime, logger });
  const frontEnd = createTlsFrontEnd({ source, runtime, logger: log, ...options });
  let accepted = 0;
  const sockets = new Set<Socket>();
  const greet = (socket: Socket): void => void socket.end('hello');
  const server = createServer((socket) => {
    accepted++;
    sockets.add(socket);
    frontEnd.accept(socket, greet);
  });
  server.listen(0, '127.0.0.1', 1024);
  await once(server, 'listening');
  cleanups.push(async () => {
    frontEnd.close();
    await source.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, frontEnd, lines, accepted: () => accepted };
}

/** A client that begins a handshake and holds; comes back when it is cut, as often as `returns` says. */
function hold(port: number, returns = 0): void {
  const socket = createConnection({ port, host: '127.0.0.1' }, () => socket.write(Buffer.from([0x16, 3, 1])));
  socket.on('error', () => {});
  socket.on('close', () => {
    if (returns > 0) hold(port, returns - 1);
  });
  cleanups.push(() => socket.destroy());
}

/** What a client with a good SVID reads. */
function greeted(port: number, client: Minted): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      cert: client.certPem,
      key: client.keyPem,
    });
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.once('close', () => resolve()));
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('half-open handshakes', () => {
  it('[row 24] keep nobody out: the oldest gives way, and the log stays short', async () => {
    const service = await startService({ handshakeTimeoutMs: 60_000 });
    const client = await ca.issue('/ns/default/sa/web');
    for (let i = 0; i < 600; i++) hold(service.port, 1);
    while (service.accepted() < 600) await tick();
    expect(service.frontEnd.pendingHandshakes).toBeLessThanOrEqual(256);
    const texts: string[] = [];
    for (let i = 0; i < 5; i++) texts.push(await greeted(service.port, client));
    expect(texts).toEqual(['hello', 'hello', 'hello', 'hello', 'hello']);
    expect(service.lines.map(({ message }) => message)).toEqual([
      'handshakes cut: too many under way, the oldest give way',
    ]);
    expect(service.lines[0]?.fields).toMatchObject({ remoteIp: '127.0.0.1', limit: 256, limitPerIp: 64 });
  });

  it('[row 24] are cut at their deadline, and forgotten', async () => {
    const service = await startService({ handshakeTimeoutMs: 50 });
    const socket = createConnection({ port: service.port, host: '127.0.0.1' });
    socket.on('error', () => {});
    socket.write(Buffer.from([0x16, 3, 1]));
    socket.resume();
    await closed(socket);
    while (service.lines.length === 0) await tick();
    expect(service.frontEnd.pendingHandshakes).toBe(0);
    expect(service.lines).toMatchObject([
      { message: 'peer refused in the TLS handshake', fields: { remoteIp: '127.0.0.1' } },
    ]);
  });

  it('[row 24] are cut when the front end closes', async () => {
    const service = await startService();
    const socket = createConnection({ port: service.port, host: '127.0.0.1' });
    socket.on('error', () => {});
    socket.write(Buffer.from([0x16, 3, 1]));
    socket.resume();
    while (service.frontEnd.pendingHandshakes === 0) await tick();
    service.frontEnd.close();
    await closed(socket);
    expect(service.frontEnd.pendingHandshakes).toBe(0);
  });

  it('are no connections that are done: a full house of those evicts nobody', async () => {
    const service = await startService({ maxPendingHandshakes: 2 });
    const client = await ca.issue('/ns/default/sa/web');
    for (let i = 0; i < 5; i++) expect(await greeted(service.port, client)).toBe('hello');
    expect(service.frontEnd.pendingHandshakes).toBe(0);
    expect(service.lines).toEqual([]);
  });
});

describe('TLS front end', () => {
  it('logs where a refused caller came from, although its socket is gone', async () => {
    const service = await startService();
    const stranger = await createTestCa('a.test');
    const ports: (number | undefined)[] = [];
    for (const client of [
      await stranger.issue('/ns/default/sa/web'),
      await ca.issue('/ns/default/sa/web', { uris: ['spiffe://a.test'] }),
    ]) {
      const socket = connect({
        port: service.port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        cert: client.certPem,
        key: client.keyPem,
      });
      socket.on('error', () => {});
      socket.once('connect', () => ports.push(socket.localPort));
      socket.resume();
      await closed(socket);
    }
    while (service.lines.length < 2) await tick();
    expect(service.lines.map(({ fields }) => [fields['remoteIp'], fields['remotePort']])).toEqual(
      ports.map((port) => ['127.0.0.1', port]),
    );
  });

  it('[row 25] cuts connections, and nothing more, when a source of another make publishes it', () => {
    const good = createStaticIdentity({ ...svid, bundles, runtime, logger });
    cleanups.push(() => good.close());
    const bad: IdentitySnapshot = {
      ...good.current(),
      svid: { ...good.current().svid, certPem: 'nonsense' },
    };
    const logged: string[] = [];
    const source: IdentitySource = {
      state: { kind: 'ready', value: bad, version: 1, error: undefined },
      rotations: good.rotations,
      current: () => bad,
      ready: () => Promise.resolve(bad),
      subscribe(listener) {
        listener(this.state);
        return () => {};
      },
      close: () => Promise.resolve(),
    };
    const frontEnd = createTlsFrontEnd({
      source,
      runtime,
      logger: { ...logger, warn: (_fields, text) => logged.push(text) },
    });
    const socket = new PassThrough();
    frontEnd.accept(socket as never, () => {});
    expect(socket.destroyed).toBe(true);
    expect(logged).toEqual(['connection cut: the identity cannot be served']);
    expect(frontEnd.pendingHandshakes).toBe(0);
  });
});
