import { once } from 'node:events';
import {
  type Agent,
  createServer as createHttpServer,
  get as httpGet,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer, get as httpsGet } from 'node:https';
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
} from 'node:net';
import type { MeshError } from '@inmesh/core';
import { createTestCa, type TestCa } from '@inmesh/identity/testing';
import { defaultClusterRules, defaultOutlierRules } from '@inmesh/resilience';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { httpPeer } from '../src/index.js';
import { TestMesh, type TestService } from './harness.js';

type Options = Parameters<typeof httpsGet>[1];

/** Asks and reads the whole reply. */
function ask(url: string, options: Options, get: typeof httpGet = httpGet): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, options ?? {}, (reply: IncomingMessage) => {
      let text = '';
      reply.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      reply.on('end', () => resolve(text)).on('error', reject);
    }).on('error', reject);
  });
}

function count(lists: NodeJS.ReadOnlyDict<unknown[]>): number {
  return Object.values(lists).reduce((sum, list) => sum + (list?.length ?? 0), 0);
}

describe('agent', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  /** An https server that is none of the mesh's; says which connection and server name a request came by. */
  const foreign = async (): Promise<{ readonly port: number; readonly ca: TestCa }> => {
    const ca = await createTestCa('foreign.test');
    const { certPem, keyPem } = await ca.issue('/server', { dnsNames: ['localhost', 'other.test'] });
    let connections = 0;
    const ids = new WeakMap<Socket, number>();
    const server = createHttpsServer({ cert: certPem, key: keyPem }, (request, response) => {
      const { socket } = request;
      if (!ids.has(socket)) ids.set(socket, ++connections);
      response.end(`${ids.get(socket)} ${String((socket as { servername?: string }).servername)}`);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    mesh.cleanup(() => {
      server.closeAllConnections();
      server.close();
    });
    return { port: (server.address() as AddressInfo).port, ca };
  };

  it('shares no connection to another host among requests that verify it differently', async () => {
    const { port, ca } = await foreign();
    const client = await mesh.client({ orders: [1] });
    const agent = client.agent();
    const url = `https://localhost:${port}/`;
    const lookup: Options = { agent, family: 4 };
    const trusting = { ...lookup, ca: ca.bundlePem };
    expect(await ask(url, trusting, httpsGet)).toBe('1 localhost');
    expect(await ask(url, trusting, httpsGet)).toBe('1 localhost');
    // Would be answered on the open connection if it were shared.
    await expect(ask(url, lookup, httpsGet)).rejects.toMatchObject({
      code: expect.stringMatching(/UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET/),
    });
    const stranger = await createTestCa('stranger.test');
    await expect(ask(url, { ...lookup, ca: stranger.bundlePem }, httpsGet)).rejects.toThrow();
    await expect(ask(url, { ...trusting, servername: 'wrong.test' }, httpsGet)).rejects.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
    expect(await ask(url, { ...trusting, servername: 'other.test' }, httpsGet)).toMatch(/^\d+ other\.test$/);
    expect(await ask(url, trusting, httpsGet)).toBe('1 localhost');
    const { port: plainPort } = await mesh.serve(() => {});
    await ask(`http://127.0.0.1:${plainPort}/`, { agent }).catch(() => {});
    expect(client.stats).toEqual({
      passedThrough: 6,
      bypasses: { 'plaintext-connection': 1, 'plaintext-request': 0, 'tls-connection': 5, 'tls-request': 0 },
    });
  });

  it('takes a name of the mesh for the mesh whatever the TLS options say, and verifies it as the mesh does', async () => {
    const { port } = await mesh.serve((request: IncomingMessage, response: ServerResponse) =>
      response.end(httpPeer(request)?.id.serviceAccount),
    );
    const wrong = await mesh.client({ orders: [port] }, { identities: { orders: 'spiffe://a.test/other' } });
    const options = { agent: wrong.agent(), rejectUnauthorized: false, checkServerIdentity: () => undefined };
    await expect(ask('https://orders/', options, httpsGet)).rejects.toMatchObject({
      code: 'INMESH_ERR_PEER_IDENTITY',
    });
    const client = await mesh.client({ orders: [port] });
    expect(await ask('https://orders/', { ...options, agent: client.agent() }, httpsGet)).toBe('web');
  });

  /** Certificates of 4 s on both sides, renewed at half of that. */
  const rotate = async (
    ...ends: readonly (readonly [TestService['source'], string])[]
  ): Promise<() => void> => {
    const renew = async (source: TestService['source'], name: string): Promise<void> => {
      const now = Date.now();
      const { certPem, keyPem } = await mesh.ca.issue(`/ns/default/sa/${name}`, {
        notBeforeMs: now - 1000,
        notAfterMs: now + 8000,
      });
      source.update({ certPem, keyPem, bundles: new Map([['a.test', mesh.ca.bundlePem]]) });
    };
    const all = (): Promise<unknown> => Promise.all(ends.map(([source, name]) => renew(source, name)));
    await all();
    const timer = setInterval(() => void all(), 4000);
    const stop = (): void => clearInterval(timer);
    mesh.cleanup(stop);
    return stop;
  };

  it('loses no request while certificates of 8 s rotate on both sides, busy or idle in between', async () => {
    const serials = new Set<string>();
    const server = await mesh.serve((request: IncomingMessage, response: ServerResponse) => {
      serials.add(httpPeer(request)?.serial ?? '');
      request.resume().on('end', () => response.end('ok'));
    });
    const source = await mesh.identity('web');
    const stop = await rotate([server.source, 'orders'], [source, 'web']);
    const client = await mesh.client({ orders: [server.port] }, { source });
    const agent = client.agent();
    const failures: unknown[] = [];
    let requests = 0;
    const work = async (pauseMs: number): Promise<void> => {
      while (serials.size < 4) {
        requests++;
        await ask('http://orders/', { agent }).catch((error: unknown) => failures.push(error));
        // What waits the longest meets every age of a connection.
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    };
    await Promise.all([0, 1, 20, 333, 1500, 3000, 3990].map(work));
    stop();
    expect([failures, requests > 100]).toEqual([[], true]);
  });

  it('leaves an idle connection before its server would close it', async () => {
    const app = createHttpServer((_request, response) => response.end('ok'));
    app.keepAliveTimeout = 2000;
    const { port } = await mesh.serve(app);
    const agent = (await mesh.client({ orders: [port] })).agent();
    await ask('http://orders/', { agent });
    const [idle] = Object.values(agent.freeSockets).flatMap((list) => list ?? []);
    if (idle === undefined) throw new Error('no idle connection');
    const start = performance.now();
    await once(idle, 'close');
    expect(Math.round((performance.now() - start) / 500)).toBe(2);
  });

  /** A server that answers when it is told to. */
  const holding = async (): Promise<{
    readonly port: number;
    readonly arrived: () => Promise<void>;
    readonly release: () => void;
  }> => {
    const held: ServerResponse[] = [];
    let tell: () => void = () => {};
    const { port } = await mesh.serve((_request: IncomingMessage, response: ServerResponse) => {
      response.write('begun ');
      held.push(response);
      tell();
    });
    return {
      port,
      arrived: () => (held.length > 0 ? Promise.resolve() : new Promise((resolve) => (tell = resolve))),
      release: () => {
        for (const response of held.splice(0)) response.end('ended');
      },
    };
  };

  const closeOf = (closing: Promise<unknown>): { isDone: boolean } => {
    const state = { isDone: false };
    void closing.then(() => (state.isDone = true));
    return state;
  };

  it('forgets connections under a root that was removed, and loses none of what waits for them', async () => {
    const server = await holding();
    const extra = await createTestCa('a.test');
    const source = await mesh.identity('web');
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/web');
    const trust = (...bundles: readonly string[]): void =>
      source.update({ certPem, keyPem, bundles: new Map([['a.test', bundles.join('')]]) });
    trust(mesh.ca.bundlePem, extra.bundlePem);
    const client = await mesh.client({ orders: [server.port] }, { source, connections: 1 });
    const agent = client.agent();
    const first = ask('http://orders/', { agent });
    await server.arrived();
    const second = ask('http://orders/', { agent });
    trust(mesh.ca.bundlePem);
    const poll = setInterval(server.release, 20);
    mesh.cleanup(() => clearInterval(poll));
    const third = ask('http://orders/', { agent });
    expect(await Promise.all([first, second, third])).toEqual(['begun ended', 'begun ended', 'begun ended']);
    await client.close();
    expect([count(agent.sockets), count(agent.freeSockets), count(agent.requests)]).toEqual([0, 0, 0]);
  });

  it('waits for replies in flight when it closes, and takes no further request', async () => {
    const server = await holding();
    const client = await mesh.client({ orders: [server.port] });
    const agent = client.agent();
    const reply = ask('http://orders/', { agent });
    await server.arrived();
    const closing = client.close();
    const state = closeOf(closing);
    await expect(ask('http://orders/', { agent })).rejects.toMatchObject({ code: 'INMESH_ERR_CLOSED' });
    expect(state.isDone).toBe(false);
    server.release();
    expect(await reply).toBe('begun ended');
    await closing;
    expect([count(agent.sockets), count(agent.freeSockets), count(agent.requests)]).toEqual([0, 0, 0]);
  });

  it('waits for a request whose connection is still being made', async () => {
    const server = await holding();
    const client = await mesh.client({ orders: [server.port] });
    const agent = client.agent();
    const reply = ask('http://orders/', { agent });
    const state = closeOf(client.close());
    await server.arrived();
    expect(state.isDone).toBe(false);
    server.release();
    expect(await reply).toBe('begun ended');
  });

  it('ends at once when nothing is under way, idle connections or not', async () => {
    const server = await mesh.serve((_request: IncomingMessage, response: ServerResponse) =>
      response.end('ok'),
    );
    const client = await mesh.client({ orders: [server.port] });
    const agent: Agent = client.agent();
    await ask('http://orders/', { agent });
    expect(count(agent.freeSockets)).toBe(1);
    await client.close();
    expect(count(agent.freeSockets)).toBe(0);
  });

  it('serves or refuses what waits for a connection when it closes; nothing hangs', async () => {
    const server = await holding();
    const client = await mesh.client({ orders: [server.port] }, { connections: 1 });
    const agent = client.agent();
    const first = ask('http://orders/', { agent });
    await server.arrived();
    const second = ask('http://orders/', { agent }).catch((error: { code: string }) => error.code);
    const closing = client.close();
    server.release();
    expect(await first).toBe('begun ended');
    const poll = setInterval(server.release, 20);
    mesh.cleanup(() => clearInterval(poll));
    expect(['begun ended', 'INMESH_ERR_CLOSED']).toContain(await second);
    await closing;
  });

  it.each([1, 2, 3, 4])('says after how many endpoints it gave up, of %d that are gone', async (count) => {
    const servers = Array.from({ length: count }, () => createTcpServer().listen(0, '127.0.0.1'));
    await Promise.all(servers.map((one) => once(one, 'listening')));
    const ports = servers.map((one) => (one.address() as AddressInfo).port);
    await Promise.all(servers.map((one) => once(one.close(), 'close')));
    const client = await mesh.client({ orders: ports }, { rules: { outlier: undefined } });
    const request = httpGet('http://orders/', { agent: client.agent() });
    const [error] = (await once(request, 'error')) as [MeshError];
    expect(error).toMatchObject({ code: 'INMESH_ERR_CONNECT_FAILED', reached: 'no', retry: 'elsewhere' });
    expect(error.details['attempts']).toBe(count === 1 ? undefined : Math.min(3, count));
  });

  it('takes an endpoint out for failures in a row only, and lets it back in when it can be reached', async () => {
    const server = await mesh.serve((_request: IncomingMessage, response: ServerResponse) =>
      response.end('ok'),
    );
    let isDown = false;
    const flaky = createTcpServer((socket) => {
      if (isDown) {
        socket.resetAndDestroy();
        return;
      }
      const onward = connectTcp(server.port, '127.0.0.1');
      socket.pipe(onward).pipe(socket);
      for (const [one, other] of [
        [socket, onward],
        [onward, socket],
      ] as const) {
        one.on('error', () => other.destroy());
        one.on('close', () => other.destroy());
      }
    }).listen(0, '127.0.0.1');
    await once(flaky, 'listening');
    mesh.cleanup(() => void flaky.close());
    const { port } = flaky.address() as AddressInfo;
    const client = await mesh.client(
      { orders: [server.port, port] },
      {
        rules: {
          balancer: 'round-robin',
          outlier: { ...defaultOutlierRules, baseEjectionMs: 200, jitterRatio: 0 },
        },
      },
    );
    const agent = client.agent();
    const cluster = client.state('orders');
    const endpoint = cluster.endpoints.find(({ key }) => key === `127.0.0.1:${port}`);
    // Each over a connection of its own.
    const again = async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++)
        expect(await ask('http://orders/', { agent, headers: { connection: 'close' } })).toBe('ok');
    };
    for (let round = 0; round < 3; round++) {
      isDown = true;
      while ((endpoint?.localErrorsInRow ?? 0) < 2) await again(1);
      isDown = false;
      while (endpoint?.localErrorsInRow !== 0) await again(1);
    }
    expect([cluster.ejected, cluster.stats.ejections]).toEqual([0, 0]);
    isDown = true;
    while (cluster.ejected === 0) await again(1);
    isDown = false;
    while (cluster.ejected > 0 || endpoint?.isOnProbation === true) await again(1);
    expect(cluster.stats.ejections).toBe(1);
    await client.close();
    expect([cluster.connections, endpoint?.active]).toEqual([0, 0]);
  });

  it('goes beyond the nearest endpoints where none of them can be reached, as fetch does', async () => {
    const far = await mesh.serve((_request: IncomingMessage, response: ServerResponse) =>
      response.end('far'),
    );
    const gates = Array.from({ length: 7 }, () => createTcpServer().listen(0, '127.0.0.1'));
    await Promise.all(gates.map((gate) => once(gate, 'listening')));
    const closed = gates.map((gate) => (gate.address() as AddressInfo).port);
    await Promise.all(gates.map((gate) => once(gate.close(), 'close')));
    const client = await mesh.client({
      orders: [...closed.map((port) => ({ port })), { port: far.port, priority: 1 }],
    });
    // The first one: nobody is ejected yet.
    expect(await ask('http://orders/', { agent: client.agent() })).toBe('far');
    expect(client.state('orders').ejected).toBe(0);
    expect(await (await client.fetch('http://orders/')).text()).toBe('far');
    // With three of them out the far one has a share of its own.
    const near = client.state('orders').endpoints.slice(0, 3);
    for (const one of near)
      for (let i = 0; i < 5; i++) client.state('orders').onResult(one, 'local-error', undefined, 0);
    for (let i = 0; i < 30; i++) expect(await ask('http://orders/', { agent: client.agent() })).toBe('far');
  });

  it('keeps to the connections that a cluster may have, and says so', async () => {
    const server = await holding();
    const { limits } = defaultClusterRules;
    const client = await mesh.client(
      { orders: [server.port] },
      { rules: { limits: { ...limits, maxConnections: 1 } } },
    );
    const agent = client.agent();
    const first = ask('http://orders/', { agent });
    await server.arrived();
    await expect(ask('http://orders/', { agent })).rejects.toMatchObject({
      code: 'INMESH_ERR_OVERFLOW',
      message: 'orders has 1 connections, at most 1 are allowed (rules.limits.maxConnections)',
    });
    const cluster = client.state('orders');
    expect([cluster.connections, cluster.stats.overflows]).toEqual([1, 1]);
    server.release();
    expect(await first).toBe('begun ended');
    await client.close();
    expect(cluster.connections).toBe(0);
  });
});
