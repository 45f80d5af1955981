import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Mesh, MeshError, MeshOptions } from '../src/index.js';
import { useMeshes } from './meshes.js';

interface Answer {
  readonly status: number;
  readonly type: string | null;
  readonly body: string;
}

describe('metrics and probes', () => {
  const meshes = useMeshes();
  const { make } = meshes;
  const ask = async (mesh: Mesh, path: string, accept = '*/*'): Promise<Answer> => {
    const reply = await fetch(`http://127.0.0.1:${mesh.metricsAddress()?.port}${path}`, {
      headers: { accept },
    });
    return { status: reply.status, type: reply.headers.get('content-type'), body: await reply.text() };
  };
  /** Over mTLS, as `who`, by node:https. */
  const askAs = async (who: Mesh, mesh: Mesh, path: string): Promise<number | undefined> => {
    const { svid, bundles } = who.identity.current();
    const outgoing = request({
      host: '127.0.0.1',
      port: mesh.metricsAddress()?.port,
      path,
      cert: svid.certPem,
      key: svid.keyPem(),
      ca: [...bundles.values()].flatMap(({ authorities }) =>
        authorities.map((der) => new X509Certificate(der).toString()),
      ),
      checkServerIdentity: () => undefined,
    }).end();
    const [reply] = await once(outgoing, 'response');
    reply.resume();
    return reply.statusCode;
  };
  const metricsAddr = '127.0.0.1:0';

  it.each([
    ['say nothing', ''],
    ['send half a head', 'GET /livez HTTP/1.1\r\nHost'],
    ['idle after a reply', 'GET /livez HTTP/1.1\r\nHost: a\r\n\r\n'],
  ])('answers probes whatever many connections do that %s', async (_what, bytes) => {
    const mesh = await make('orders', { metricsAddr });
    const port = mesh.metricsAddress()?.port ?? 0;
    const sockets = Array.from({ length: 120 }, () => connect(port, '127.0.0.1').on('error', () => {}));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    for (const socket of sockets) if (bytes !== '') socket.write(bytes);
    expect(await ask(mesh, '/livez')).toMatchObject({ status: 200 });
    for (const socket of sockets) socket.destroy();
  });

  it('serves the text format, and OpenMetrics to those who accept it, figures of the process included', async () => {
    const mesh = await make('orders', { metricsAddr });
    const text = await ask(mesh, '/metrics');
    expect([text.status, text.type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    expect(text.body).toContain('inmesh_policy_generation 1\n');
    expect(text.body).toContain('nodejs_eventloop_lag_seconds');
    const open = await ask(mesh, '/metrics', 'application/openmetrics-text; version=1.0.0');
    expect(open.type).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    expect(open.body).toMatch(/\n# EOF\n$/);
    // OpenMetrics knows no empty lines.
    expect(open.body).not.toMatch(/\n\n/);
    expect(open.body.match(/# EOF/g)).toHaveLength(1);
    expect(await ask(mesh, '/livez')).toMatchObject({ status: 200, body: 'ok\n' });
    expect((await ask(mesh, '/nowhere')).status).toBe(404);
  });

  it('lets nobody read metrics but who is named, and everybody probe', async () => {
    const mesh = await make('orders', { metricsAddr, metricsAllow: 'prometheus' });
    const [friend, stranger] = [await make('prometheus'), await make('mallory')];
    expect([await askAs(friend, mesh, '/metrics'), await askAs(stranger, mesh, '/metrics')]).toEqual([
      200, 403,
    ]);
    expect((await ask(mesh, '/metrics')).status).toBe(403);
    expect([(await ask(mesh, '/readyz')).status, await askAs(stranger, mesh, '/readyz')]).toEqual([200, 200]);
  });

  it('says that policies on disk are wrong and stays ready with the last good ones', async () => {
    const policyDir = join(meshes.dir, 'policies');
    await mkdir(policyDir);
    const file = join(policyDir, 'policy.yaml');
    await writeFile(
      file,
      'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec: {}\n',
    );
    const mesh = await make('orders', { metricsAddr, policyDir });
    expect((await ask(mesh, '/readyz')).body).toBe('[+]identity ok\n[+]policies ok\n[+]drain ok\n');
    await writeFile(
      file,
      'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec: {ruls: []}\n',
    );
    while (!(await mesh.metricsText()).includes('\ninmesh_policy_rejected 1\n'))
      await new Promise(setImmediate);
    const { status, body } = await ask(mesh, '/readyz');
    expect(status).toBe(200);
    expect(body).toMatch(/\[\+\]policies ok: the last good ones are in force: .*policy\.yaml/);
  });

  it('is unready from the moment it drains, and answers to the end', async () => {
    const mesh = await make('orders', { metricsAddr, drainTimeout: '10s' });
    let end: (() => void) | undefined;
    const server = mesh.serve((_request: unknown, response: { end(text: string): void }) => {
      end = () => response.end('done');
    });
    const { port } = await server.listen(0, '127.0.0.1');
    const caller = await make('web', { upstreams: { orders: `127.0.0.1:${port}` } });
    const reply = caller.fetch('http://orders/');
    while (end === undefined) await new Promise(setImmediate);
    const closing = mesh.close();
    const probe = await ask(mesh, '/readyz');
    expect([probe.status, probe.body]).toEqual([
      503,
      '[+]identity ok\n[+]policies ok\n[-]drain not ready: the mesh is closing\n',
    ]);
    end();
    expect(await (await reply).text()).toBe('done');
    await closing;
    expect(mesh.readiness().isReady).toBe(false);
  });

  it('counts both ends of a call by gRPC and HTTP, and what could not be reached', async () => {
    const mesh = await make('orders');
    const server = mesh.serve((_request: unknown, response: { end(text: string): void }) =>
      response.end('x'),
    );
    const { port } = await server.listen(0, '127.0.0.1');
    const caller = await make('web', {
      upstreams: { orders: `127.0.0.1:${port}`, gone: '127.0.0.1:1' },
      retries: 0,
    });
    await (await caller.fetch('http://orders/')).text();
    await caller.fetch('http://gone/').catch(() => {});
    const { Client } = await import('@grpc/grpc-js');
    const client = new Client('mesh:///orders', caller.grpc.credentials(), caller.grpc.channelOptions());
    await new Promise((resolve) =>
      client.makeUnaryRequest('/a.B/C', Buffer.from, String, 'x', (error) => resolve(error)),
    );
    client.close();
    const text = await caller.metricsText();
    const lines = text
      .split('\n')
      .filter((line) => line.startsWith('istio_requests_total{reporter="source"'));
    const shown = lines.map((line) =>
      [
        'destination_service_name',
        'request_protocol',
        'response_code',
        'grpc_response_status',
        'response_flags',
      ].map((name) => new RegExp(`${name}="([^"]*)"`).exec(line)?.[1]),
    );
    expect(shown).toEqual([
      ['orders', 'http', '200', '', '-'],
      ['gone', 'http', '503', '', 'UF'],
      // No gRPC server on that port: it says so.
      ['orders', 'grpc', '200', '12', '-'],
    ]);
  });

  it.each([
    [{ metricsAddr: 'nowhere' }, 'host:port'],
    [{ metricsAddr: '127.0.0.1:70000' }, 'host:port'],
    [{ metricsAllow: 'prometheus' }, 'INMESH_METRICS_ADDR'],
    [{ metricsAddr, metricsAllow: '' }, 'empty'],
    [{ metricsAddr, metricsAllow: 'prometheus', mtls: 'disable' }, 'INMESH_MTLS=disable'],
  ] satisfies [MeshOptions, string][])('refuses %o', async (options, said) => {
    const error = await make('orders', options).catch((thrown: MeshError) => thrown);
    expect((error as MeshError).code).toBe('INMESH_ERR_CONFIG_INVALID');
    expect((error as MeshError).message).toContain(said);
  });

  it('does not start where it cannot listen, and leaves nothing open', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const before = process.listenerCount('SIGTERM');
    const error = await make('orders', { metricsAddr: `127.0.0.1:${port}` }).catch(
      (thrown: MeshError) => thrown,
    );
    expect((error as MeshError).message).toMatch(/^INMESH_METRICS_ADDR: .*EADDRINUSE/);
    expect(process.listenerCount('SIGTERM')).toBe(before);
    taken.close();
  });
});
