import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import express from 'express';
import fastify from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Call, createMesh, type Layer, type Mesh, type MeshOptions } from '../src/index.js';

const text = {
  path: '/t.T/Unary',
  requestStream: false,
  responseStream: false,
  requestSerialize: (s: string) => Buffer.from(s),
  requestDeserialize: String,
  responseSerialize: (s: string) => Buffer.from(s),
  responseDeserialize: String,
};
const bidi = { ...text, path: '/t.T/Bidi', requestStream: true, responseStream: true };
const deny = (path: string): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny}\nspec:\n  action: DENY\n  rules:\n  - to: [{operation: {paths: ["${path}"]}}]\n`;

describe('mesh', () => {
  let dir: string;
  let meshes: Mesh[];
  const logs: { msg: string; fields: Record<string, unknown> }[] = [];
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-mesh-'));
    meshes = [];
    logs.length = 0;
  });
  afterEach(async () => {
    await Promise.all(meshes.map((mesh) => mesh.close()));
    await rm(dir, { recursive: true, force: true });
  });
  const log = (fields: Readonly<Record<string, unknown>>, msg: string): void =>
    void logs.push({ msg, fields });
  const make = async (serviceName: string, options: MeshOptions = {}): Promise<Mesh> => {
    const mesh = await createMesh({
      env: {},
      cwd: dir,
      serviceName,
      devCaDir: join(dir, 'ca'),
      drainDelay: 0,
      drainTimeout: '5s',
      logger: { debug: log, info: log, warn: log, error: log },
      ...options,
    });
    meshes.push(mesh);
    return mesh;
  };
  const curl = (service: string, url: string, ...args: string[]): Promise<string> =>
    new Promise((resolve) => {
      execFile(
        'curl',
        [
          '-sS',
          '--max-time',
          '10',
          '--cacert',
          join(dir, service, 'bundle.pem'),
          '--cert',
          join(dir, service, 'svid.pem'),
          '--key',
          join(dir, service, 'key.pem'),
          '-w',
          ' %{http_code}',
          ...args,
          url,
        ],
        (_error, stdout, stderr) => resolve(stdout + stderr),
      );
    });
  const mint = (service: string): Promise<string> =>
    new Promise((resolve, reject) => {
      execFile(
        process.execPath,
        [
          new URL('../bin/inmesh.js', import.meta.url).pathname,
          'identity',
          'mint',
          '--service',
          service,
          '--out',
          join(dir, service),
        ],
        { env: { INMESH_DEV_CA_DIR: join(dir, 'ca') } },
        (error, stdout, stderr) => (error ? reject(new Error(stderr)) : resolve(stdout)),
      );
    });

  it('serves Express, Fastify and gRPC on one port each, to curl with a minted identity', async () => {
    const orders = await make('orders', { allow: 'web' });
    const app = express().get(
      '/who',
      (request, response) => void response.send(orders.peer(request)?.id.uri),
    );
    const server = orders.serve(app);
    const { port } = await server.listen(0, '127.0.0.1');
    const cart = await make('cart', { allow: 'web' });
    const plugin = fastify();
    plugin.get('/who', (request) => cart.peer(request)?.id.uri);
    const second = await cart.serve(plugin).listen(0, '127.0.0.1');
    expect(await mint('web')).toContain('spiffe://dev.local/ns/default/sa/web');
    await mint('intruder');
    // Names are verified: the dev CA writes localhost into every certificate.
    for (const at of [port, second.port]) {
      expect(await curl('web', `https://localhost:${at}/who`)).toBe(
        'spiffe://dev.local/ns/default/sa/web 200',
      );
      expect(await curl('intruder', `https://localhost:${at}/who`)).toBe('RBAC: access denied 403');
    }
    expect(logs.find((one) => one.msg === 'denied')?.fields).toMatchObject({
      peer: 'spiffe://dev.local/ns/default/sa/intruder',
      path: '/who',
      reason: 'no ALLOW policy matches',
      allowPolicies: ['default/inmesh-allow'],
    });
  });

  it('carries a layer of the user through all four seats', async () => {
    const seats: string[] = [];
    const layer: Layer = {
      role: 'audit',
      scope: 'call',
      why: 'test',
      after: ['authorize'],
      bind: ({ side }) => ({
        async request(call: Call) {
          await Promise.resolve();
          seats.push(`${side} ${call.protocol} ${call.facts.path}`);
          return call.facts.path === '/teapot'
            ? { kind: 'reply', reply: { httpStatus: 418, body: side } }
            : undefined;
        },
      }),
    };
    const layers = { inbound: [layer], outbound: [layer] };
    const back = await make('back', { layers });
    const server = back.serve((_request: IncomingMessage, response: ServerResponse) => response.end('http'));
    const grpcServer = new grpc.Server();
    grpcServer.addService(
      { Unary: text },
      {
        Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) =>
          done(null, `grpc ${call.request} ${back.peer(call)?.id.serviceAccount}`),
      },
    );
    server.addGrpc(grpcServer);
    const { port } = await server.listen(0, '127.0.0.1');
    const front = await make('front', { layers, upstreams: { back: `127.0.0.1:${port}` } });
    expect(await (await front.fetch('http://back/x')).text()).toBe('http');
    expect((await front.fetch('http://back/teapot')).status).toBe(418);
    const client = new grpc.Client('mesh:///back', front.grpc.credentials(), front.grpc.channelOptions());
    expect(
      await new Promise((resolve, reject) =>
        client.makeUnaryRequest(
          text.path,
          text.requestSerialize,
          text.responseDeserialize,
          'hi',
          (error, value) => (error ? reject(error) : resolve(value)),
        ),
      ),
    ).toBe('grpc hi front');
    client.close();
    expect(seats).toEqual([
      'client http1 /x',
      'server http1 /x',
      'client http1 /teapot',
      'client grpc /t.T/Unary',
      'server grpc /t.T/Unary',
    ]);
  });

  it('puts changed policies in force on open connections and running streams, and keeps the last good set', async () => {
    const policyDir = join(dir, 'policies');
    await (await import('node:fs/promises')).mkdir(policyDir);
    await writeFile(join(policyDir, 'a.yaml'), deny('/never'));
    const back = await make('back', { policyDir });
    const server = back.serve((_request: IncomingMessage, response: ServerResponse) => response.end('ok'));
    const grpcServer = new grpc.Server();
    grpcServer.addService(
      { Bidi: bidi },
      {
        Bidi: (call: grpc.ServerDuplexStream<string, string>) =>
          call.on('data', (chunk: string) => call.write(chunk)),
      },
    );
    server.addGrpc(grpcServer);
    const { port } = await server.listen(0, '127.0.0.1');
    const front = await make('front', { upstreams: { back: `127.0.0.1:${port}` } });
    const client = new grpc.Client('mesh:///back', front.grpc.credentials(), front.grpc.channelOptions());
    const stream = client.makeBidiStreamRequest(bidi.path, bidi.requestSerialize, bidi.responseDeserialize);
    stream.write('1');
    await once(stream, 'data');
    expect((await front.fetch('http://back/x')).status).toBe(200);
    await writeFile(join(policyDir, 'a.yaml'), 'kind: garbage');
    while (!logs.some((one) => one.msg.startsWith('policies rejected')))
      await new Promise((resolve) => setImmediate(resolve));
    expect((await front.fetch('http://back/x')).status).toBe(200);
    await writeFile(join(policyDir, 'a.yaml'), deny('*'));
    const [error] = (await once(
      stream.on('data', () => {}),
      'error',
    )) as [grpc.ServiceError];
    expect(error.code).toBe(7);
    expect((await front.fetch('http://back/x')).status).toBe(403);
    expect(logs.findLast((one) => one.msg === 'denied')?.fields).toMatchObject({
      policy: 'default/deny',
      rule: 0,
      line: 7,
      file: join(policyDir, 'a.yaml'),
    });
    client.close();
  });

  it('does not start on a wrong setting, a missing policy directory, or in production', async () => {
    await expect(make('x', { mtls: 'maybe' as never })).rejects.toMatchObject({
      code: 'INMESH_ERR_CONFIG_INVALID',
    });
    await expect(make('x', { policyDir: join(dir, 'none') })).rejects.toMatchObject({
      code: 'INMESH_ERR_POLICY_UNREADABLE',
    });
    await expect(make('x', { env: { NODE_ENV: 'production' } })).rejects.toMatchObject({
      code: 'INMESH_ERR_DEV_CA_REFUSED',
    });
    await expect(make('x', { env: { INMESH_MTSL: 'strict' } })).rejects.toMatchObject({
      code: 'INMESH_ERR_CONFIG_UNKNOWN',
    });
    await expect(
      make('x', { identity: 'files', certFile: 'a', keyFile: 'b', caFile: 'c', startupTimeout: 50 }),
    ).rejects.toMatchObject({ code: 'INMESH_ERR_IDENTITY_TIMEOUT' });
    await expect(
      make('x', {
        layers: { inbound: [{ role: 'authorize', scope: 'call', why: 'x', bind: () => undefined }] },
      }).then((mesh) => mesh.serve()),
    ).rejects.toMatchObject({ code: 'INMESH_ERR_LAYER_ORDER' });
  });

  it('does not serve with a wrong option, and does not listen on what is no port', async () => {
    const mesh = await make('x');
    for (const options of [{ htttp2: true }, { http2: 'yes' }, true])
      expect(() => mesh.serve(undefined, options as never)).toThrow(
        expect.objectContaining({ code: 'INMESH_ERR_CONFIG_INVALID' }),
      );
    const server = mesh.serve();
    for (const [port, host] of [
      ['abc'],
      ['8080'],
      [join(dir, 'socket')],
      [-1],
      [65_536],
      [0.5],
      [Number.NaN],
      [null],
      [0, ''],
      [0, 5],
    ]) {
      await expect(server.listen(port as never, host as never)).rejects.toMatchObject({
        code: 'INMESH_ERR_CONFIG_INVALID',
      });
      expect([server.address(), server.http.listening]).toEqual([null, false]);
    }
    const { port } = await server.listen(0, '127.0.0.1');
    await expect(mesh.serve().listen(port, '127.0.0.1')).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  it('says at start when everybody is allowed, and denies by default where told so', async () => {
    await make('open');
    expect(logs.some((one) => one.msg.startsWith('no ALLOW policy'))).toBe(true);
    const closed = await make('closed', { authzDefault: 'deny' });
    const { port } = await closed.serve(() => {}).listen(0, '127.0.0.1');
    const front = await make('front', { upstreams: { closed: `127.0.0.1:${port}` } });
    expect((await front.fetch('http://closed/')).status).toBe(403);
  });

  it('loses no call while identities rotate, and finishes calls when it closes', async () => {
    const back = await make('back', { devCaTtl: 6000, drainDelay: '1s' });
    const serials = new Set<string>();
    const server = back.serve((request: IncomingMessage, response: ServerResponse) => {
      serials.add(back.peer(request)?.serial ?? '');
      response.end('ok');
    });
    const { port } = await server.listen(0, '127.0.0.1');
    const front = await make('front', { devCaTtl: 6000, upstreams: { back: `127.0.0.1:${port}` } });
    while (serials.size < 4) expect((await front.fetch('http://back/')).status).toBe(200);
    const last = front.fetch('http://back/');
    await Promise.all([last, back.close()]);
    expect((await last).status).toBe(200);
  });

  it('lets handlers that finish while it closes make their calls, and then no more', async () => {
    const leaf = await make('leaf');
    const server = leaf.serve((_request: IncomingMessage, response: ServerResponse) => response.end('leaf'));
    const grpcServer = new grpc.Server();
    grpcServer.addService(
      { Unary: text },
      {
        Unary: ({ request }: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) =>
          done(null, request),
      },
    );
    server.addGrpc(grpcServer);
    const upstreams = { leaf: `127.0.0.1:${(await server.listen(0, '127.0.0.1')).port}` };
    const mid = await make('mid', { upstreams });
    let goOn: () => void = () => {};
    const released = new Promise<void>((resolve) => (goOn = resolve));
    let enter: () => void = () => {};
    const entered = new Promise<void>((resolve) => (enter = resolve));
    const { port } = await mid
      .serve(async (_request: IncomingMessage, response: ServerResponse) => {
        enter();
        await released;
        const first = await (await mid.fetch('http://leaf/')).text();
        // Clients that nobody has used before are made as well.
        const client = new grpc.Client('mesh:///leaf', mid.grpc.credentials(), mid.grpc.channelOptions());
        client.makeUnaryRequest(
          text.path,
          text.requestSerialize,
          text.responseDeserialize,
          'grpc',
          (error, value) => response.end(`${first} ${error?.message ?? value}`),
        );
      })
      .listen(0, '127.0.0.1');
    const front = await make('front', { upstreams: { mid: `127.0.0.1:${port}` } });
    const reply = front.fetch('http://mid/');
    await entered;
    const closing = mid.close();
    expect(() => mid.serve()).toThrow(expect.objectContaining({ code: 'INMESH_ERR_CLOSED' }));
    goOn();
    expect(await (await reply).text()).toBe('leaf grpc');
    await closing;
    const late = await mid.fetch('http://leaf/').catch((error: unknown) => error);
    expect(late).toBeInstanceOf(TypeError);
    expect(late).toMatchObject({ cause: { code: 'INMESH_ERR_CLOSED' } });
  });

  it.each([
    ['beside HTTP', (_request: IncomingMessage, response: ServerResponse) => response.end()],
    ['on a port of its own', undefined],
  ])(
    'loses no RPC when a replica goes whose clients come back before it is gone, %s',
    async (_where, app) => {
      const replica = async (drainDelay: string): Promise<{ readonly mesh: Mesh; readonly port: number }> => {
        const replica = await make('back', { drainDelay });
        const server = replica.serve(app);
        const grpcServer = new grpc.Server();
        grpcServer.addService(
          { Unary: text },
          {
            Unary: ({ request }: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) =>
              void setTimeout(() => done(null, request), 10),
          },
        );
        server.addGrpc(grpcServer);
        return { mesh: replica, port: (await server.listen(0, '127.0.0.1')).port };
      };
      const [going, staying] = [await replica('700ms'), await replica('0ms')];
      const front = await make('front', {
        upstreams: { back: `127.0.0.1:${going.port},127.0.0.1:${staying.port}` },
      });
      const client = new grpc.Client('mesh:///back', front.grpc.credentials(), front.grpc.channelOptions());
      const ask = (): Promise<string | undefined> =>
        new Promise((resolve, reject) =>
          client.makeUnaryRequest(
            text.path,
            text.requestSerialize,
            text.responseDeserialize,
            'x',
            (error, value) => (error ? reject(error) : resolve(value)),
          ),
        );
      await ask();
      let isOver = false;
      const failures: string[] = [];
      let calls = 0;
      const work = async (): Promise<void> => {
        while (!isOver) {
          calls++;
          await ask().catch((error: Error) => failures.push(error.message));
        }
      };
      const workers = Array.from({ length: 8 }, work);
      while (calls < 50) await new Promise(setImmediate);
      await going.mesh.close();
      isOver = true;
      await Promise.all(workers);
      client.close();
      expect(failures).toEqual([]);
      expect(calls).toBeGreaterThan(50);
    },
  );

  it('counts what passes through', async () => {
    const front = await make('front');
    const plain = createServer((_request, response) => response.end('plain')).listen(0, '127.0.0.1');
    await once(plain, 'listening');
    const { port } = plain.address() as AddressInfo;
    expect(await (await front.fetch(`http://127.0.0.1:${port}/`)).text()).toBe('plain');
    expect(front.stats()).toEqual({ clusters: [], passedThrough: 1 });
    plain.closeAllConnections();
    plain.close();
  });
});
