import type { IncomingMessage, ServerResponse } from 'node:http';
import { Client } from '@grpc/grpc-js';
import type { Logger } from '@inmesh/core';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Mesh, MeshError, MeshOptions } from '../src/index.js';
import { type Fields, noteAccess, useMeshes } from './meshes.js';

describe('records of calls', () => {
  const meshes = useMeshes();
  let lines: Fields[];
  beforeEach(() => {
    lines = [];
  });
  const logger = noteAccess((line) => void lines.push(line));
  const make = (serviceName: string, options: MeshOptions = {}): Promise<Mesh> =>
    meshes.make(serviceName, { logger, logLevel: undefined, ...options });
  const serve = async (
    options: MeshOptions,
  ): Promise<{ readonly orders: Mesh; readonly address: string }> => {
    const orders = await make('orders', { allow: 'web', ...options });
    const server = orders.serve((request: IncomingMessage, response: ServerResponse) => {
      if (request.url?.startsWith('/wait')) return;
      response.statusCode = request.url === '/broken' ? 500 : 200;
      response.end('hello');
    });
    const { port } = await server.listen(0, '127.0.0.1');
    return { orders, address: `127.0.0.1:${port}` };
  };
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise(setImmediate);
  };

  it('are a line of JSON on each side, in the words of Istio, and without the query', async () => {
    const { address } = await serve({ accessLog: 'all' });
    const web = await make('web', { accessLog: 'all', upstreams: { orders: address } });
    const headers = { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, 'x-request-id': '17' };
    await (await web.fetch('http://orders/items?token=secret', { headers })).text();
    await until(() => lines.length === 2);
    const [source, destination] = lines.toSorted((one) => (one['reporter'] === 'source' ? -1 : 1));
    expect(destination).toMatchObject({
      start_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      method: 'GET',
      path: '/items',
      protocol: 'HTTP/1.1',
      response_code: 200,
      response_flags: '-',
      response_code_details: 'via_upstream',
      bytes_received: source?.['bytes_received'],
      bytes_sent: source?.['bytes_sent'],
      peer_principal: 'spiffe://dev.local/ns/default/sa/web',
      authz_policy: expect.stringContaining('/'),
      trace_id: 'a'.repeat(32),
      request_id: '17',
    });
    expect(source).toMatchObject({ upstream_cluster: 'orders', upstream_host: address, attempts: 1 });
    expect(JSON.stringify(lines)).not.toContain('secret');
  });

  it('tell denials by the words of Envoy, and clients that leave by DC with code 0', async () => {
    const { address } = await serve({ accessLog: 'errors' });
    const [web, mallory] = [
      await make('web', { upstreams: { orders: address } }),
      await make('mallory', { upstreams: { orders: address } }),
    ];
    await (await web.fetch('http://orders/')).text();
    await (await mallory.fetch('http://orders/')).text();
    const leaving = new AbortController();
    const left = web.fetch('http://orders/wait', { signal: leaving.signal }).catch(() => {});
    await until(() => web.stats().clusters.some(({ activeCalls }) => activeCalls > 0));
    setTimeout(() => leaving.abort(), 50);
    await left;
    await until(() => lines.length === 2);
    expect(lines).toMatchObject([
      {
        response_code: 403,
        response_flags: '-',
        response_code_details: 'rbac_access_denied_matched_policy[none]',
      },
      {
        response_code: 0,
        response_flags: 'DC',
        response_code_details: 'downstream_remote_disconnect',
        path: '/wait',
      },
    ]);
  });

  it('are a share of what went well, and all that failed', async () => {
    const { address } = await serve({ accessLog: 0.000_001 });
    const web = await make('web', { upstreams: { orders: address }, retries: 0 });
    for (let i = 0; i < 20; i++) await (await web.fetch('http://orders/')).text();
    await (await web.fetch('http://orders/broken')).text();
    await until(() => lines.length > 0);
    expect(lines).toMatchObject([{ response_code: 500 }]);
  });

  it('come as decisions, with the rule and its place, while somebody listens; what that throws harms nobody', async () => {
    const { orders, address } = await serve({});
    const web = await make('web', { upstreams: { orders: address } });
    const inbound: unknown[] = [];
    const outbound: unknown[] = [];
    const stop = orders.on('decision', (record) => {
      inbound.push(record);
      throw new Error('of the listener');
    });
    web.on('decision', (record) => outbound.push(record));
    const client = new Client('mesh:///orders', web.grpc.credentials(), web.grpc.channelOptions());
    const status = await new Promise((resolve) =>
      client.makeUnaryRequest('/a.B/C', Buffer.from, String, 'x', (error) => resolve(error?.code)),
    );
    client.close();
    expect(status).toBe(12);
    await (await web.fetch('http://orders/')).text();
    await until(() => inbound.length === 1 && outbound.length === 2);
    expect(inbound).toMatchObject([
      {
        side: 'server',
        peer: 'spiffe://dev.local/ns/default/sa/web',
        httpStatus: 200,
        decision: { isAllowed: true, rule: 0, reason: expect.any(String) },
      },
    ]);
    expect(outbound).toMatchObject([
      {
        side: 'client',
        protocol: 'grpc',
        grpcStatus: 12,
        path: '/a.B/C',
        cluster: 'orders',
        endpoint: address,
      },
      { side: 'client', protocol: 'http1', httpStatus: 200, attempts: 1 },
    ]);
    stop();
    await (await web.fetch('http://orders/')).text();
    expect(inbound).toHaveLength(1);
    expect(() => orders.on('decisions' as 'decision', () => {})).toThrow('there is "decision"');
  });

  it('name no trace that is none', async () => {
    const { address } = await serve({ accessLog: 'all' });
    const web = await make('web', { upstreams: { orders: address } });
    for (const traceparent of ['x'.repeat(55), `00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`])
      await (await web.fetch('http://orders/', { headers: { traceparent } })).text();
    await until(() => lines.length === 2);
    for (const line of lines) expect(line).not.toHaveProperty('trace_id');
  });

  it('harm nobody where a listener rejects or a logger throws, at once or later', async () => {
    const failures: unknown[] = [];
    const note = (error: unknown): void => void failures.push(error);
    process.on('unhandledRejection', note);
    process.on('uncaughtException', note);
    const broken = (): never => {
      throw new Error('of the logger');
    };
    const loggers = [
      { debug: broken, info: broken, warn: broken, error: broken },
      Object.fromEntries(['debug', 'info', 'warn', 'error'].map((level) => [level, async () => broken()])),
    ];
    try {
      for (const one of loggers) {
        const options = { logger: one as unknown as Logger, accessLog: 'all' } as const;
        const { orders, address } = await serve({ ...options });
        const rejects = (): Promise<void> => Promise.reject(new Error('of the listener'));
        // What a user does whose compiler does not mind.
        orders.on('decision', rejects as () => void);
        const [web, mallory] = [
          await make('web', { ...options, upstreams: { orders: address } }),
          await make('mallory', { ...options, upstreams: { orders: address } }),
        ];
        expect((await web.fetch('http://orders/')).status).toBe(200);
        expect((await mallory.fetch('http://orders/')).status).toBe(403);
      }
      await new Promise(setImmediate);
    } finally {
      process.off('unhandledRejection', note);
      process.off('uncaughtException', note);
    }
    expect(failures).toEqual([]);
  });

  it('explain decisions in the reply to those who may ask, and hide the question from the application', async () => {
    const asked: unknown[] = [];
    const orders = await make('orders', { allow: 'web', explainAllow: 'web,mallory' });
    const server = orders.serve((request: IncomingMessage, response: ServerResponse) => {
      asked.push(request.headers['x-inmesh-explain']);
      response.end('hello');
    });
    const { port } = await server.listen(0, '127.0.0.1');
    const ask = async (name: string): Promise<string | null> => {
      const mesh = await make(name, { upstreams: { orders: `127.0.0.1:${port}` } });
      const reply = await mesh.fetch('http://orders/', { headers: { 'x-inmesh-explain': '1' } });
      await reply.text();
      return reply.headers.get('x-inmesh-explain');
    };
    expect(await ask('web')).toMatch(/^allowed policy=\S+ rule=0 .*reason="/);
    expect(await ask('mallory')).toMatch(/^denied reason="/);
    expect(await ask('stranger')).toBeNull();
    expect(asked).toEqual([undefined]);
  });

  it('go to a logger of the application, whatever the level of ours', async () => {
    const { address } = await serve({ accessLog: 'all', logLevel: 'error' });
    const web = await make('web', { upstreams: { orders: address } });
    await (await web.fetch('http://orders/')).text();
    await until(() => lines.length === 1);
    expect(lines).toMatchObject([{ reporter: 'destination', response_code: 200 }]);
  });

  it('are refused where our own logger would drop them', async () => {
    const made = meshes.make('orders', { accessLog: 'all', logLevel: 'error' });
    await expect(made).rejects.toMatchObject({
      code: 'INMESH_ERR_CONFIG_INVALID',
      message: expect.stringContaining('INMESH_LOG_LEVEL is error'),
    });
  });

  it.each([
    [{ accessLog: 'some' as 'all' }, 'must be off, errors, all'],
    [{ accessLog: 2 }, 'between 0 and 1'],
    [{ env: { INMESH_EXPLAIN_ALLOW: '' } }, 'empty'],
  ] satisfies [MeshOptions, string][])('refuse %o', async (options, said) => {
    const error: unknown = await make('orders', options).catch((thrown: unknown) => thrown);
    expect((error as MeshError).message).toContain(said);
  });
});
