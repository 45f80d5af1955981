import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  Client,
  Metadata,
  Server,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { createTestNetwork, type TestNetwork } from '@inmesh/testing';
import type { Mesh } from 'inmesh';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { budget } from '../src/budget.js';

const method = {
  path: '/demo.Price/Get',
  requestStream: false,
  responseStream: false,
  requestSerialize: (text: string) => Buffer.from(text),
  requestDeserialize: String,
  responseSerialize: (text: string) => Buffer.from(text),
  responseDeserialize: String,
} as const;

function ask(mesh: Mesh, tenant?: string): Promise<string> {
  const client = new Client('mesh:///prices', mesh.grpc.credentials(), mesh.grpc.channelOptions());
  const metadata = new Metadata();
  if (tenant !== undefined) metadata.set('x-tenant', tenant);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      'tea',
      metadata,
      (error, value) => {
        client.close();
        if (error) reject(error);
        else resolve(value ?? '');
      },
    );
  });
}

describe('a layer of your own', () => {
  let network: TestNetwork;
  let taken: string[];
  let visitor: Mesh;
  beforeEach(async () => {
    taken = [];
    const layer = budget({
      take(name) {
        taken.push(name);
        return Promise.resolve(taken.filter((one) => one === name).length <= 4);
      },
    });
    const layers = { inbound: [layer], outbound: [layer] };
    const grpc = new Server();
    grpc.addService(
      { Get: method },
      { Get: (_call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) => done(null, '9.95') },
    );
    network = await createTestNetwork();
    await network.join('prices', { layers, grpc });
    await network.join('shop', {
      layers,
      app: (mesh: Mesh) => async (_request: IncomingMessage, response: ServerResponse) => {
        // Names no tenant: the layer carries it from the call that this one is made for.
        response.end(await ask(mesh).catch((error: ServiceError) => error.details));
      },
    });
    visitor = (await network.join('visitor')).mesh;
  });
  afterEach(() => network.close());

  it('sits in all four seats, waits, remembers from inbound to outbound, and answers by itself', async () => {
    const get = async (): Promise<readonly [number, string, string | null]> => {
      const reply = await visitor.fetch('http://shop/', { headers: { 'x-tenant': 'acme' } });
      return [reply.status, (await reply.text()).trim(), reply.headers.get('x-budget')];
    };
    // Each visit takes twice: once at the shop over HTTP, once at prices over gRPC.
    expect(await get()).toEqual([200, '9.95', 'counted']);
    expect(await get()).toEqual([200, '9.95', 'counted']);
    expect(taken).toEqual(['acme', 'acme', 'acme', 'acme']);
    expect(await get()).toEqual([429, 'the budget of acme is spent', 'counted']);
    await expect(ask(visitor, 'acme')).rejects.toMatchObject({
      code: 8,
      details: 'the budget of acme is spent',
    });
  });
});
