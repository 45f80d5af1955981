import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import { Client, Metadata, Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { Mesh, MeshOptions } from '../src/index.js';
import { asIs, method as say } from './hops.js';
import { useMeshes } from './meshes.js';

const header = 'x-envoy-peer-metadata';

type Labels = Readonly<Record<string, string>>;

/** Labels and values of the series of `istio_requests_total`. */
async function series(
  mesh: Mesh,
  name = 'istio_requests_total',
): Promise<readonly (Labels & { count: number })[]> {
  const text = await mesh.metricsText();
  return [...text.matchAll(new RegExp(`^${name}\\{(.*)\\} (\\d+)$`, 'gm'))].map(([, labels = '', value]) => ({
    ...Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, one]) => [key, one])),
    count: Number(value),
  }));
}

const ofWeb: MeshOptions = {
  workload: 'web-v2',
  clusterId: 'east',
  labels: { app: 'web', version: 'v2' },
};
const ofOrders: MeshOptions = {
  workload: 'orders-v7',
  clusterId: 'west',
  labels: { app: 'orders', version: 'v7' },
};
const wholeEdge = {
  source_workload: 'web-v2',
  source_app: 'web',
  source_version: 'v2',
  source_canonical_service: 'web',
  source_canonical_revision: 'v2',
  source_cluster: 'east',
  source_workload_namespace: 'default',
  destination_workload: 'orders-v7',
  destination_app: 'orders',
  destination_version: 'v7',
  destination_canonical_service: 'orders',
  destination_canonical_revision: 'v7',
  destination_cluster: 'west',
  destination_workload_namespace: 'default',
};

describe('metadata of peers', () => {
  const { make } = useMeshes();
  const trust = (mesh: Mesh) => {
    const { svid, bundles } = mesh.identity.current();
    const ca = [...bundles.values()].flatMap(({ authorities }) =>
      authorities.map((der) => new X509Certificate(der).toString()),
    );
    return { cert: svid.certPem, key: svid.keyPem(), ca };
  };

  it('names both ends of an HTTP edge on both sides, and shows neither application a trace of it', async () => {
    const seen: IncomingHttpHeaders[] = [];
    const orders = await make('orders', ofOrders);
    const { port } = await orders
      .serve((request: IncomingMessage, response: ServerResponse) => {
        seen.push(request.headers);
        response.writeHead(request.url === '/bad' ? 500 : 200, ['x-own', '1']).end('ok');
      })
      .listen(0, '127.0.0.1');
    const web = await make('web', { ...ofWeb, upstreams: { orders: `127.0.0.1:${port}` } });
    for (const path of ['/', '/', '/bad', '/']) {
      const reply = await web.fetch(`http://orders${path}`);
      await reply.text();
      expect([...reply.headers.keys()].filter((name) => name.startsWith('x-'))).toEqual(['x-own']);
    }
    expect(seen).toHaveLength(4);
    for (const headers of seen) expect(Object.keys(headers)).not.toContain(header);
    for (const mesh of [orders, web])
      for (const one of await series(mesh)) expect(one).toMatchObject(wholeEdge);
  });

  it('names both ends of a gRPC edge, also where the reply is a status alone', async () => {
    const seen: Metadata[] = [];
    const orders = await make('orders', ofOrders);
    const server = orders.serve();
    const grpc = new Server();
    grpc.addService(
      { Say: say },
      {
        Say: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
          seen.push(call.metadata);
          if (call.request.length === 0) callback({ code: 5, details: 'nothing' });
          else callback(null, call.request);
        },
      },
    );
    server.addGrpc(grpc);
    const { port } = await server.listen(0, '127.0.0.1');
    const web = await make('web', { ...ofWeb, upstreams: { orders: `127.0.0.1:${port}` } });
    const client = new Client('mesh:///orders', web.grpc.credentials(), web.grpc.channelOptions());
    const ask = (body: Buffer): Promise<Metadata> =>
      new Promise((resolve) => {
        const head: Metadata[] = [];
        client
          .makeUnaryRequest(say.path, asIs, asIs, body, new Metadata(), (error) =>
            resolve(error?.metadata ?? head[0] ?? new Metadata()),
          )
          .on('metadata', (metadata: Metadata) => head.push(metadata));
      });
    for (const body of [Buffer.alloc(0), Buffer.from('a'), Buffer.from('b')]) {
      const metadata = await ask(body);
      expect(metadata.get(header)).toEqual([]);
    }
    client.close();
    for (const metadata of seen) expect(metadata.get(header)).toEqual([]);
    for (const mesh of [orders, web])
      for (const name of ['istio_requests_total', 'istio_request_messages_total']) {
        const all = await series(mesh, name);
        expect(all.length).toBeGreaterThan(0);
        for (const one of all) expect(one).toMatchObject(wholeEdge);
      }
  });

  it('introduces us once to a connection whose peer remembers or does not care, and with each call to a proxy', async () => {
    const web = await make('web', ofWeb);
    const seen: (string | undefined)[] = [];
    let answer: string | undefined;
    const foreign = createServer({ ...trust(web), requestCert: true }, (request, response) => {
      seen.push(request.headers[header] as string | undefined);
      if (answer !== undefined && request.headers[header] !== undefined)
        response.setHeader(header, request.headers[header]).setHeader(`${header}-id`, answer);
      response.end();
    });
    foreign.listen(0, '127.0.0.1');
    await once(foreign, 'listening');
    const { port } = foreign.address() as AddressInfo;
    const ask = async (id: string | undefined) => {
      answer = id;
      seen.length = 0;
      const caller = await make('web', {
        ...ofWeb,
        upstreams: { orders: { endpoints: `127.0.0.1:${port}`, identity: 'web' } },
      } as MeshOptions);
      for (let i = 0; i < 3; i++) await (await caller.fetch('http://orders/')).text();
      await caller.close();
      return seen.map((one) => one !== undefined);
    };
    expect(await ask(undefined)).toEqual([true, false, false]);
    expect(await ask('inmesh~orders~1')).toEqual([true, false, false]);
    expect(await ask('sidecar~10.0.0.1~orders.default~default.svc')).toEqual([true, true, true]);
    foreign.close();
    foreign.closeAllConnections();
  });

  it('answers foreign callers that introduce themselves, and nobody else', async () => {
    const orders = await make('orders', ofOrders);
    const web = await make('web', ofWeb);
    const { port } = await orders
      .serve((_request: IncomingMessage, response: ServerResponse) => response.end('ok'))
      .listen(0, '127.0.0.1');
    const socket = connect({ port, ...trust(web), checkServerIdentity: () => undefined });
    await once(socket, 'secureConnect');
    const ask = async (lines: string): Promise<string> => {
      socket.write(`GET / HTTP/1.1\r\nhost: orders\r\n${lines}\r\n`);
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      return chunk.toString();
    };
    expect(await ask('')).not.toContain(header);
    expect(await ask(`${header}: AAAA\r\n${header}-id: x\r\n`)).toMatch(
      /\r\nx-envoy-peer-metadata: [\w+/=]{50,}\r\nx-envoy-peer-metadata-id: inmesh~orders~[0-9a-f]{16}\r\n/,
    );
    socket.destroy();
    const [one] = await series(orders);
    expect(one).toMatchObject({ source_workload: 'unknown', source_workload_namespace: 'default' });
  });

  it('says and hears nothing where it is turned off', async () => {
    const seen: IncomingHttpHeaders[] = [];
    const orders = await make('orders', { ...ofOrders, peerMetadata: false });
    const { port } = await orders
      .serve((request: IncomingMessage, response: ServerResponse) => {
        seen.push(request.headers);
        response.end();
      })
      .listen(0, '127.0.0.1');
    const web = await make('web', { ...ofWeb, upstreams: { orders: `127.0.0.1:${port}` } });
    await (await web.fetch('http://orders/')).text();
    expect(Object.keys(seen[0] ?? {})).not.toContain(header);
    expect((await series(orders))[0]).toMatchObject({ source_workload: 'unknown' });
    expect((await series(web))[0]).toMatchObject({
      destination_workload: 'unknown',
      destination_principal: orders.identity.current().svid.id.uri,
    });
  });
});
