import { once } from 'node:events';
import { get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Endpoint, type MeshError, systemRuntime, type WatchSource } from '@inmesh/core';
import { deadline, defaultOutlierRules, retryGuard } from '@inmesh/resilience';
import { Client } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { calls, foreign, noOutlier, route, text } from './foreign.js';
import { TestMesh } from './harness.js';

describe('HTTP client under failure', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it('sends a GET again after a reset, and a POST never', async () => {
    let gets = 0;
    let posts = 0;
    const { port } = await foreign(mesh, (request, response) => {
      if (request.method === 'POST') {
        posts++;
        request.resume().on('end', () => request.socket.destroy());
      } else if (++gets % 2 === 1) request.socket.destroy();
      else response.end('second');
    });
    const client = await mesh.client({ orders: [port] });
    expect(await (await client.fetch('http://orders/')).text()).toBe('second');
    const failure = await client
      .fetch('http://orders/', { method: 'POST', body: 'x' })
      .catch((error: Error) => error);
    expect(failure).toBeInstanceOf(TypeError);
    expect((failure as Error).cause).toMatchObject({
      code: 'INMESH_ERR_CONNECTION_LOST',
      reached: 'maybe',
      retry: 'if-idempotent',
    });
    expect([gets, posts]).toEqual([2, 1]);
  });

  it('sends a POST again with an idempotency key, and says which attempt it is', async () => {
    const attempts: unknown[] = [];
    const { port } = await foreign(mesh, (request, response) => {
      attempts.push(request.headers['x-envoy-attempt-count']);
      request
        .resume()
        .on('end', () => (attempts.length === 1 ? request.socket.destroy() : response.end('ok')));
    });
    const client = await mesh.client({ orders: [port] });
    const reply = await client.fetch('http://orders/', {
      method: 'POST',
      body: 'x',
      headers: { 'idempotency-key': '1', 'x-envoy-attempt-count': '7' },
    });
    expect(await reply.text()).toBe('ok');
    expect(attempts).toEqual([undefined, '2']);
  });

  it('reads or cuts large failures that it throws away, with one connection', async () => {
    let served = 0;
    const { port } = await foreign(mesh, (_request, response) => {
      response.writeHead(++served % 3 === 0 ? 200 : 503).end(Buffer.alloc(200_000));
    });
    const client = await mesh.client(
      { orders: [port] },
      {
        rules: { ...noOutlier, retryBudget: { capacity: 1000, perSuccess: 1 } },
        calls: calls({}, { conditions: ['5xx'], backoff: { baseMs: 1, maxMs: 1 } }),
        connections: 1,
      },
    );
    for (let i = 0; i < 40; i++) {
      const reply = await client.fetch('http://orders/');
      expect([reply.status, (await reply.arrayBuffer()).byteLength]).toEqual([200, 200_000]);
    }
    const state = client.state('orders');
    expect([state.activeCalls, state.pending, state.activeRetries, state.endpoints[0]?.active]).toEqual([
      0, 0, 0, 0,
    ]);
  });

  it('bounds the wait for a head, and lets a reply stream as long as it likes', async () => {
    const { port } = await foreign(mesh, (request, response) => {
      if (request.url === '/silent') return;
      response.write('first');
      setTimeout(() => response.end('last'), 700);
    });
    const client = await mesh.client({ orders: [port] }, { calls: calls({ headTimeoutMs: 400 }) });
    const failure = await client.fetch('http://orders/silent').catch((error: Error) => error.cause);
    expect(failure).toMatchObject({ code: 'INMESH_ERR_HEAD_TIMEOUT', status: 'deadline-exceeded' });
    expect(await (await client.fetch('http://orders/stream')).text()).toBe('firstlast');
  });

  it('tries another endpoint when one attempt takes too long', async () => {
    const slow = await foreign(mesh, () => {});
    const fast = await foreign(mesh, text('fast'));
    const client = await mesh.client(
      { orders: [slow.port, fast.port] },
      { calls: calls({}, { perTryTimeoutMs: 300 }) },
    );
    for (let i = 0; i < 4; i++) expect(await (await client.fetch('http://orders/')).text()).toBe('fast');
  });

  it('sends a deadline on, refuses what is late, and ends a handler that is', async () => {
    const seen: (string | undefined)[] = [];
    let aborted = 0;
    const { port } = await mesh.serve(
      (request: IncomingMessage, response: ServerResponse) => {
        seen.push(request.headers['x-envoy-expected-rq-timeout-ms'] as string | undefined);
        if (request.url === '/fast') response.end('ok');
        else response.on('close', () => aborted++);
      },
      { layers: [deadline(systemRuntime)] },
    );
    const client = await mesh.client({ orders: [port] }, { calls: calls({ timeoutMs: 5000 }) });
    expect((await client.fetch('http://orders/fast')).status).toBe(200);
    expect(Number(seen[0])).toBeGreaterThan(1000);
    expect(Number(seen[0])).toBeLessThan(5000);
    const base = await mesh.files('web');
    const slow = await mesh.curl(
      base,
      `https://localhost:${port}/slow`,
      '-H',
      'x-envoy-expected-rq-timeout-ms: 200',
    );
    expect(slow.out).toContain('504');
    expect(aborted).toBe(1);
    const late = await mesh.curl(
      base,
      `https://localhost:${port}/fast`,
      '-H',
      'x-envoy-expected-rq-timeout-ms: 0',
    );
    expect(late.out).toContain('504');
    expect(seen).toHaveLength(2);
  });

  it('does not let an application relay that a call was not processed', async () => {
    let effects = 0;
    const { port: leaf } = await mesh.serve(text('busy', 503, { 'x-inmesh-nack': '1' }), { name: 'leaf' });
    const bare = await foreign(
      mesh,
      text('busy', 503, { 'x-inmesh-nack': '1', 'finagle-http-nack': 'true' }),
      'bare',
    );
    const inner = await mesh.client({ leaf: [leaf], bare: [bare.port] }, { name: 'orders' });
    const { port } = await mesh.serve((request: IncomingMessage, response: ServerResponse) => {
      effects++;
      void inner
        .fetch(`http://${request.url === '/bare' ? 'bare' : 'leaf'}/`, { method: 'POST' })
        .then(async (reply) => {
          response.writeHead(reply.status, { ...Object.fromEntries(reply.headers), 'X-Inmesh-Nack': '1' });
          response.end(await reply.text());
        });
    });
    const client = await mesh.client({ orders: [port] });
    for (const path of ['/leaf', '/bare']) {
      const reply = await client.fetch(`http://orders${path}`, { method: 'POST', body: 'x' });
      expect([reply.status, reply.headers.get('x-inmesh-nack')]).toEqual([503, null]);
    }
    expect(effects).toBe(2);
  });

  it('believes a peer that did not process a POST, once for nothing', async () => {
    let posts = 0;
    const { port } = await foreign(mesh, (request, response) => {
      const isFirst = ++posts === 1;
      text(
        isFirst ? 'no' : 'yes',
        isFirst ? 503 : 200,
        isFirst ? { 'x-inmesh-nack': '1' } : {},
      )(request, response);
    });
    const client = await mesh.client({ orders: [port] });
    const reply = await client.fetch('http://orders/', { method: 'POST', body: 'x' });
    expect([reply.status, await reply.text(), posts]).toEqual([200, 'yes', 2]);
    expect(client.state('orders').budget.tokens).toBe(10);
  });

  it('tells its caller not to repeat what it repeated in vain', async () => {
    let leafCalls = 0;
    const leaf = await foreign(
      mesh,
      (request, response) => {
        leafCalls++;
        text('down', 503)(request, response);
      },
      'leaf',
    );
    const retrying = calls({}, { conditions: ['5xx'], backoff: { baseMs: 1, maxMs: 2 } });
    const service = await mesh
      .serve(
        (_request: IncomingMessage, response: ServerResponse) => {
          void service.inner.fetch('http://leaf/').then((reply) => response.writeHead(reply.status).end());
        },
        { layers: [retryGuard()] },
      )
      .then(async (made) => ({
        ...made,
        inner: await mesh.client(
          { leaf: [leaf.port] },
          { name: 'orders', context: made.context, calls: retrying, rules: noOutlier },
        ),
      }));
    const client = await mesh.client({ orders: [service.port] }, { calls: retrying, rules: noOutlier });
    expect((await client.fetch('http://orders/')).status).toBe(503);
    expect(leafCalls).toBe(3);
  });

  it('refuses beyond its limits, and does not retry that', async () => {
    const held: ServerResponse[] = [];
    const { port } = await foreign(mesh, (_request, response) => void held.push(response));
    const client = await mesh.client(
      { orders: [port] },
      {
        rules: { limits: { maxConnections: 1, maxPending: 1, maxRequests: 3 } },
        connections: 1,
      },
    );
    const state = client.state('orders');
    const first = client.fetch('http://orders/1');
    const second = client.fetch('http://orders/2');
    const third = await client.fetch('http://orders/3').catch((error: Error) => error.cause);
    expect(third).toMatchObject({ code: 'INMESH_ERR_OVERFLOW', reached: 'no', retry: 'never' });
    while (held.length < 1) await new Promise((resolve) => setImmediate(resolve));
    expect([state.activeCalls, state.connections]).toEqual([2, 1]);
    held.shift()?.end('1');
    expect(await (await first).text()).toBe('1');
    while (held.length < 1) await new Promise((resolve) => setImmediate(resolve));
    held.shift()?.end('2');
    expect(await (await second).text()).toBe('2');
    expect([state.activeCalls, state.pending, state.stats.overflows]).toEqual([0, 0, 1]);
  });

  it('ejects an endpoint that fails, and comes back to it', async () => {
    let isWell = false;
    let tried = 0;
    const bad = await foreign(mesh, (request, response) => {
      tried++;
      text('bad', isWell ? 200 : 500)(request, response);
    });
    const good = await foreign(mesh, text('good'));
    const client = await mesh.client(
      { orders: [bad.port, good.port] },
      {
        rules: {
          balancer: 'round-robin',
          outlier: { ...defaultOutlierRules, baseEjectionMs: 400, intervalMs: 100, jitterRatio: 0 },
        },
      },
    );
    const statuses: number[] = [];
    const ask = async (): Promise<void> => {
      const reply = await client.fetch('http://orders/');
      statuses.push(reply.status);
      await reply.text();
    };
    while (client.state('orders').ejected === 0) await ask();
    expect(statuses.filter((one) => one === 500)).toHaveLength(5);
    isWell = true;
    const before = tried;
    while (tried === before) await ask();
    expect(statuses.filter((one) => one === 500)).toHaveLength(5);
    expect(client.state('orders').ejected).toBe(0);
  });

  it('routes by path, rewrites, edits headers, redirects and answers', async () => {
    const { port } = await foreign(mesh, (request, response) => {
      response.setHeader('x-old', '1');
      response.end(
        JSON.stringify({ url: request.url, host: request.headers.host, team: request.headers['x-team'] }),
      );
    });
    const client = await mesh.client(
      { orders: [port] },
      {
        routes: {
          shop: [
            route({
              matches: [{ path: { segments: '/v1' } }],
              action: {
                kind: 'forward',
                backends: [{ cluster: 'orders', request: { set: { 'x-team': 'blue' } } }],
                rewrite: { prefix: '/internal', authority: 'orders.internal' },
              },
              response: { remove: ['x-old'], add: { 'x-new': '2' } },
            }),
            route({
              matches: [{ path: { exact: '/old' } }],
              action: { kind: 'redirect', status: 308, path: '/v1/new' },
            }),
            route({
              matches: [{ path: { exact: '/health' } }],
              action: { kind: 'direct', status: 200, body: 'fine' },
            }),
          ],
        },
      },
    );
    const reply = await client.fetch('http://shop/v1/items?a=1');
    expect(await reply.json()).toEqual({ url: '/internal/items?a=1', host: 'orders.internal', team: 'blue' });
    expect([reply.headers.get('x-old'), reply.headers.get('x-new')]).toEqual([null, '2']);
    expect(await (await client.fetch('http://shop/old?b=2')).json()).toMatchObject({
      url: '/internal/new?b=2',
    });
    expect(await (await client.fetch('http://shop/health')).text()).toBe('fine');
    const failure = await client.fetch('http://shop/nowhere').catch((error: Error) => error.cause);
    expect((failure as MeshError).code).toBe('INMESH_ERR_NO_ROUTE');
  });

  it('lets a caller leave while it waits for a connection, and keeps no count of it', async () => {
    const { port } = await foreign(mesh, () => {});
    const client = await mesh.client({ orders: [port] }, { connections: 1 });
    const state = client.state('orders');
    const controllers = Array.from({ length: 5 }, () => new AbortController());
    const pending = controllers.map(({ signal }) =>
      client.fetch('http://orders/', { signal }).catch((error: Error) => error.name),
    );
    while (state.pending < 4) await new Promise((resolve) => setImmediate(resolve));
    for (const controller of controllers) controller.abort();
    expect(await Promise.all(pending)).toEqual(Array.from({ length: 5 }, () => 'AbortError'));
    expect([state.activeCalls, state.endpoints[0]?.active]).toEqual([0, 0]);
  });

  it.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['a status of 000', 'HTTP/1.1 000 Odd\r\ncontent-length: 0\r\n\r\n'],
    ['a status of 099', 'HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n'],
  ])('says that an endpoint answers with %s, and keeps no count of it', async (_what, answer) => {
    const { createServer: createTls } = await import('node:tls');
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/orders');
    const odd = createTls(
      { cert: certPem, key: keyPem, ca: mesh.ca.bundlePem, requestCert: true },
      (socket) => socket.on('error', () => {}).once('data', () => socket.end(answer)),
    ).listen(0, '127.0.0.1');
    await once(odd, 'listening');
    mesh.cleanup(() => void odd.close());
    const client = await mesh.client({ orders: [(odd.address() as AddressInfo).port] });
    const failure = await client.fetch('http://orders/').catch((error: Error) => error.cause);
    expect((failure as MeshError).code).toBe('INMESH_ERR_BAD_REPLY');
    expect(client.state('orders').activeCalls).toBe(0);
  });

  it('does not wait for a century that a reply asks for', async () => {
    let served = 0;
    const { port } = await foreign(mesh, (request, response) => {
      served++;
      text('later', 503, { 'retry-after': 'Fri, 01 Jan 2126 00:00:00 GMT' })(request, response);
    });
    const client = await mesh.client({ orders: [port] }, { calls: calls({}, { conditions: ['5xx'] }) });
    expect((await client.fetch('http://orders/')).status).toBe(503);
    expect(served).toBe(1);
  });

  it('drains without losing a POST that comes over a connection it keeps', async () => {
    const { port, listener } = await mesh.serve(text('ok'));
    const base = await mesh.ca.issue('/ns/default/sa/web');
    const client = new Client(`https://127.0.0.1:${port}`, {
      connect: { cert: base.certPem, key: base.keyPem, ca: mesh.ca.bundlePem, rejectUnauthorized: false },
    });
    mesh.cleanup(() => client.destroy());
    expect((await client.request({ path: '/', method: 'POST', body: 'x' })).statusCode).toBe(200);
    const closed = listener.drain({ delayMs: 300, timeoutMs: 2000 });
    const last = await client.request({ path: '/', method: 'POST', body: 'x' });
    expect([last.statusCode, last.headers['connection']]).toEqual([200, 'close']);
    await closed;
  });

  it('frees the place of a caller that leaves while it waits for a connection', async () => {
    const held: ServerResponse[] = [];
    const { port } = await foreign(mesh, (_request, response) => void held.push(response));
    const client = await mesh.client(
      { orders: [port] },
      { connections: 1, rules: { limits: { maxConnections: 1, maxPending: 1, maxRequests: 100 } } },
    );
    const first = client.fetch('http://orders/1');
    for (let i = 0; i < 10; i++) {
      const controller = new AbortController();
      const waiting = client
        .fetch('http://orders/2', { signal: controller.signal })
        .catch((error: Error) => error.name);
      while (client.state('orders').pending === 0) await new Promise((resolve) => setImmediate(resolve));
      controller.abort();
      expect(await waiting).toBe('AbortError');
      expect(client.state('orders').pending).toBe(0);
    }
    while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
    held[0]?.end('1');
    expect(await (await first).text()).toBe('1');
  });

  it('waits at close for calls that wait themselves, and cuts what takes too long', async () => {
    let served = 0;
    const { port } = await foreign(mesh, (request, response) => {
      if (request.url === '/endless') response.write('...');
      else if (++served === 1) response.writeHead(503, { 'retry-after': '1' }).end();
      else response.end('second');
    });
    const client = await mesh.client({ orders: [port] }, { calls: calls({}, { conditions: ['5xx'] }) });
    const call = client.fetch('http://orders/');
    while (served === 0) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const closing = client.close(5000);
    expect(await (await call).text()).toBe('second');
    await closing;
    const other = await mesh.client({ orders: [port] });
    const endless = await other.fetch('http://orders/endless');
    const text = endless.text().catch((error: Error) => (error.cause as Error).message);
    await other.close(200);
    expect(await text).toContain('closed');
    const late = await other.fetch('http://orders/').catch((error: Error) => error.cause);
    expect(late).toMatchObject({ code: 'INMESH_ERR_CLOSED' });
  });

  it('serves what was on its way when the listener closed', async () => {
    const { port, listener } = await mesh.serve(text('ok'));
    const base = await mesh.ca.issue('/ns/default/sa/web');
    const client = new Client(`https://127.0.0.1:${port}`, {
      connect: { cert: base.certPem, key: base.keyPem, ca: mesh.ca.bundlePem, rejectUnauthorized: false },
    });
    mesh.cleanup(() => client.destroy());
    await (await client.request({ path: '/', method: 'GET' })).body.text();
    const closing = listener.drain({ delayMs: 0, timeoutMs: 2000 });
    // The listener accepts no more by now; the connection was idle.
    await new Promise((resolve) => setTimeout(resolve, 100));
    const late = await client.request({ path: '/', method: 'POST', body: 'x' });
    expect([late.statusCode, late.headers['connection']]).toEqual([200, 'close']);
    await closing;
  });

  it('answers 504 whatever the handler had begun to set, and lets it go on', async () => {
    let wentOn = false;
    const { port } = await mesh.serve(
      (_request: IncomingMessage, response: ServerResponse) => {
        response.setHeader('transfer-encoding', 'chunked');
        response.on('close', () => {
          response.setHeader('x-late', '1');
          response.write('late', () => response.end('later', () => (wentOn = true)));
        });
      },
      { layers: [deadline(systemRuntime)] },
    );
    const base = await mesh.files('web');
    const slow = await mesh.curl(
      base,
      `https://localhost:${port}/`,
      '-H',
      'x-envoy-expected-rq-timeout-ms: 150',
    );
    expect(slow.out).toMatch(/504 1\.1/);
    while (!wentOn) await new Promise((resolve) => setImmediate(resolve));
  });

  it('cuts at close what goes on at an endpoint that is gone', async () => {
    const { port } = await foreign(mesh, (_request, response) => void response.write('...'));
    const client = await mesh.client({ orders: [port] });
    const reply = await client.fetch('http://orders/');
    const failed = reply.text().catch((error: Error) => error);
    const { endpoints } = client.state('orders').cluster;
    (endpoints as WatchSource<readonly Endpoint[]>).set([]);
    await client.close(200);
    expect(await failed).toBeInstanceOf(Error);
  });

  it('does not pass on the deadline and the count of another hop, by agents neither', async () => {
    const seen: unknown[] = [];
    const { port } = await foreign(mesh, (request, response) => {
      seen.push(request.headers['x-envoy-expected-rq-timeout-ms'], request.headers['x-envoy-attempt-count']);
      response.end();
    });
    const client = await mesh.client({ orders: [port] });
    const headers = { 'x-envoy-expected-rq-timeout-ms': '1500', 'x-envoy-attempt-count': '3' };
    await client.fetch('http://orders/', { headers });
    await new Promise<void>((resolve) =>
      get(
        'http://orders/',
        { agent: client.agent(), headers },
        (reply) => void reply.resume().on('end', resolve),
      ),
    );
    expect(seen).toEqual([undefined, undefined, undefined, undefined]);
  });
});
