import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { Client, Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { Mesh, MeshOptions } from '../src/index.js';
import { type Fields, noteAccess, textMethod, useMeshes } from './meshes.js';

describe('what a mesh counts beside calls', () => {
  const meshes = useMeshes();
  const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
    while (!(await holds())) await new Promise(setImmediate);
  };
  /** Samples of a family: values of labels by commas, and the number. */
  const samples = async (mesh: Mesh, name: string): Promise<Readonly<Record<string, number>>> =>
    Object.fromEntries(
      [...(await mesh.metricsText()).matchAll(new RegExp(`^${name}\\{(.*)\\} (\\S+)$`, 'gm'))].map(
        ([, labels = '', value]) => [
          [...labels.matchAll(/="([^"]*)"/g)].map(([, text]) => text).join(),
          Number(value),
        ],
      ),
    );
  /** A service over HTTP and gRPC whose first replies fail, those over each protocol for themselves. */
  const serve = async (failures: number): Promise<string> => {
    const left = { http: failures, grpc: failures };
    const orders = await meshes.make('orders', { allow: 'web' });
    const server = orders.serve((_request: IncomingMessage, response: ServerResponse) =>
      response.writeHead(left.http-- > 0 ? 503 : 200).end(),
    );
    const grpc = new Server();
    grpc.addService(
      { C: textMethod },
      {
        C: (_call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) =>
          left.grpc-- > 0 ? done({ code: 14 }) : done(null, 'x'),
      },
    );
    server.addGrpc(grpc);
    const { port } = await server.listen(0, '127.0.0.1');
    return `127.0.0.1:${port}`;
  };
  const caller = (endpoints: string, options: MeshOptions = {}): Promise<Mesh> =>
    meshes.make('web', {
      upstreams: {
        orders: {
          endpoints,
          calls: { retry: { maxAttempts: 2, statusCodes: [503], backoff: { baseMs: 1, maxMs: 1 } } },
        },
      },
      ...options,
    });
  const ask = async (mesh: Mesh): Promise<number> => {
    const reply = await mesh.fetch('http://orders/');
    await reply.text();
    return reply.status;
  };
  const askGrpc = async (mesh: Mesh): Promise<number | undefined> => {
    const options = mesh.grpc.channelOptions({ idempotent: [textMethod.path] });
    const client = new Client('mesh:///orders', mesh.grpc.credentials(), options);
    const error = await new Promise<{ readonly code?: number } | null>((resolve) =>
      client.makeUnaryRequest(textMethod.path, Buffer.from, String, 'x', resolve),
    );
    client.close();
    return error?.code;
  };

  it('attempts of both protocols, by what they came to and why they were made; nobody keeps records', async () => {
    const web = await caller(await serve(1));
    expect([await ask(web), await ask(web), await askGrpc(web), await askGrpc(web)]).toEqual([
      200,
      200,
      undefined,
      undefined,
    ]);
    expect(await samples(web, 'inmesh_upstream_attempts_total')).toEqual({
      // One of each protocol.
      'orders,gateway-error,': 2,
      'orders,ok,': 2,
      'orders,ok,retriable-status-codes': 1,
      'orders,ok,unavailable': 1,
    });
  });

  it('calls whose attempts were used up, in the flags of labels and of the access log', async () => {
    const gone = createTcpServer().listen(0, '127.0.0.1');
    await once(gone, 'listening');
    const { port } = gone.address() as AddressInfo;
    gone.close();
    const flags = async (mesh: Mesh): Promise<readonly (string | undefined)[]> =>
      [...(await mesh.metricsText()).matchAll(/^istio_requests_total\{.*response_flags="([^"]*)"/gm)].map(
        ([, flag]) => flag,
      );
    const web = await caller(await serve(2));
    expect([await ask(web), await ask(web), await askGrpc(web), await askGrpc(web)]).toEqual([
      503,
      200,
      14,
      undefined,
    ]);
    expect((await flags(web)).toSorted()).toEqual(['-', '-', 'URX', 'URX']);

    const lines: Fields[] = [];
    const logger = noteAccess((line) => void lines.push(line));
    const lost = await caller(`127.0.0.1:${port}`, { logger, accessLog: 'errors', logLevel: undefined });
    await lost.fetch('http://orders/').catch(() => {});
    await until(() => lines.length === 1);
    expect(lines).toMatchObject([{ response_flags: 'UF,URX', not_retried: 'attempts-used-up' }]);
    expect(await flags(lost)).toEqual(['UF,URX']);
  });

  it('ejections, by their cause', async () => {
    const web = await meshes.make('web', {
      upstreams: { orders: `${await serve(5)},127.0.0.1:1` },
      retries: 0,
      balancers: { orders: ({ endpoints }) => ({ pick: () => endpoints[0] as never }) },
    });
    for (let i = 0; i < 5; i++) await ask(web);
    const none = {
      'orders,consecutive-gateway-failure': 0,
      'orders,consecutive-local-origin-failure': 0,
      'orders,failed-probe': 0,
      'orders,failure-percentage': 0,
    };
    expect(await samples(web, 'inmesh_upstream_ejections_total')).toEqual({
      ...none,
      'orders,consecutive-5xx': 1,
    });
  });

  it('what passes through, by its scheme', async () => {
    const web = await meshes.make('web');
    const none = { 'plaintext-connection': 0, 'plaintext-request': 0, 'tls-connection': 0, 'tls-request': 0 };
    expect(await samples(web, 'inmesh_bypass_total')).toEqual(none);
    const plain = createServer((_request, response) => response.end('plain')).listen(0, '127.0.0.1');
    await once(plain, 'listening');
    const url = `http://127.0.0.1:${(plain.address() as AddressInfo).port}/`;
    await (await web.fetch(url)).text();
    await web.fetch(url.replace('http:', 'https:')).catch(() => {});
    const [reply] = await once(get(url, { agent: web.agent() }), 'response');
    (reply as IncomingMessage).resume();
    await once(reply as IncomingMessage, 'end');
    expect(await samples(web, 'inmesh_bypass_total')).toEqual({
      ...none,
      'plaintext-connection': 1,
      'plaintext-request': 1,
      'tls-request': 1,
    });
    plain.closeAllConnections();
    plain.close();
  });

  it('changes of the configuration file and of policies that were refused', async () => {
    const [file, policyDir] = [join(meshes.dir, 'mesh.yaml'), join(meshes.dir, 'policies')];
    const policy = (spec: string): string =>
      `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec: ${spec}\n`;
    await mkdir(policyDir);
    await writeFile(join(policyDir, 'a.yaml'), policy('{}'));
    const bare = await meshes.make('bare');
    expect(await samples(bare, 'inmesh_config_errors_total')).toEqual({ 'policy-dir': 0 });
    await writeFile(file, policy('{}').replace('name: a', 'name: b'));
    const mesh = await meshes.make('orders', { configFile: file, policyDir });
    const refused = (): Promise<Readonly<Record<string, number>>> =>
      samples(mesh, 'inmesh_config_errors_total');
    expect(await refused()).toEqual({ 'config-file': 0, 'policy-dir': 0 });
    await writeFile(file, policy('{ruls: []}'));
    await until(async () => (await refused())['config-file'] === 1);
    expect(await refused()).toEqual({ 'config-file': 1, 'policy-dir': 0 });
    await writeFile(join(policyDir, 'a.yaml'), policy('{ruls: []}'));
    await until(async () => (await refused())['policy-dir'] === 1);
    expect(await refused()).toEqual({ 'config-file': 1, 'policy-dir': 1 });
  });

  it('renewals of its certificate, and those that failed', async () => {
    const mesh = await meshes.make('orders', { devCaTtl: '3s' });
    const renewals = (): Promise<Readonly<Record<string, number>>> =>
      samples(mesh, 'inmesh_cert_rotations_total');
    const none = { 'svid,success': 0, 'svid,failure': 0, 'root,success': 0, 'root,failure': 0 };
    expect(await renewals()).toEqual(none);
    await until(async () => (await renewals())['svid,success'] === 1);
    expect(await renewals()).toEqual({ ...none, 'svid,success': 1 });
    const place = join(meshes.dir, 'ca');
    await rename(place, `${place}.aside`);
    await writeFile(place, '');
    await until(async () => ((await renewals())['svid,failure'] ?? 0) > 0);
    await rm(place);
    await rename(`${place}.aside`, place);
  });

  it('how busy its loop was since somebody looked', async () => {
    const mesh = await meshes.make('orders');
    const busy = async (): Promise<number> =>
      Number(/^inmesh_nodejs_elu (\S+)$/m.exec(await mesh.metricsText())?.[1]);
    await busy();
    createHash('sha256').update(Buffer.alloc(50_000_000)).digest();
    const worked = await busy();
    // Of the whole life of the process, which has waited for more than one reply.
    const { utilization } = performance.eventLoopUtilization();
    expect(worked).toBeGreaterThan(utilization);
    expect(worked).toBeLessThanOrEqual(1);
  });
});
