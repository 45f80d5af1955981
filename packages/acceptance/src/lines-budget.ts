import { Client } from '@grpc/grpc-js';
import { type Endpoint, WatchSource } from '@inmesh/core';
import type { Line } from './context.js';
import { check } from './harness.js';
import {
  Ledger,
  ledgerIdentity,
  meshClient,
  payByGrpc,
  settled,
  thousandFailures,
  workers,
} from './ledger.js';

const httpBudget: Line = {
  title:
    'every endpoint answers 503, 3 attempts on 5xx: 1,000 GETs cause 1,005 to 1,011 requests; recovery without help',
  async run(context) {
    const ledger = await Ledger.http(context, await ledgerIdentity(context), 3);
    await ledger.mode('fail');
    const mesh = await meshClient(context, {
      upstreams: { ledger: ledger.addresses },
      retryOn: '5xx',
      retries: 2,
    });
    await thousandFailures(mesh);
    const total = await ledger.total();
    check(total >= 1005 && total <= 1011, `${total} requests`);
    await ledger.mode('ok');
    let failed = 0;
    for (let i = 0; i < 200; i++) {
      const reply = await mesh.fetch('http://ledger/');
      await reply.arrayBuffer();
      if (reply.status !== 200) failed++;
    }
    check(failed === 0, `${failed} of 200 failed after the recovery`);
    await settled(mesh, 'ledger');
    await mesh.close();
    return `${total} requests; 200 of 200 afterwards`;
  },
};

const idempotentUnary = { idempotent: ['/demo.v1.Echo/Unary'] };

/** The budget is a cluster's, whatever the protocol: 10 to begin with, and nothing is earned where nothing succeeds. */
const sharedBudget: Line = {
  title:
    'idempotent gRPC against UNAVAILABLE, 3 attempts: 500 RPCs cause 505 to 511; with HTTP on one cluster 1,000 calls 1,005 to 1,011',
  async run(context) {
    const who = await ledgerIdentity(context);
    const alone = await Ledger.grpc(context, who, 3);
    const [http, grpc] = [await Ledger.http(context, who, 3), await Ledger.grpc(context, who, 3)];
    await http.mode('fail');
    const both = new WatchSource<readonly Endpoint[]>();
    const mesh = await meshClient(context, {
      upstreams: {
        alone: { endpoints: alone.addresses, identity: 'ledger' },
        both: { endpoints: both, identity: 'ledger' },
      },
      retryOn: '5xx,unavailable',
      retries: 2,
    });
    let next = 0;
    const call = async (client: Client): Promise<void> => {
      const status = await payByGrpc(client, `u${next++}?`);
      check(status === 14, `gRPC status ${status}`);
    };
    const get = async (): Promise<void> => {
      const reply = await mesh.fetch('http://both/');
      await reply.arrayBuffer();
      check(reply.status === 503, `status ${reply.status}`);
    };
    const times = async (count: number, work: () => Promise<void>): Promise<void> => {
      let left = count;
      await workers(
        8,
        () => left <= 0,
        async () => {
          left--;
          await work();
        },
      );
    };
    const clientOf = (name: string): Client =>
      new Client(`mesh:///${name}`, mesh.grpc.credentials(), mesh.grpc.channelOptions(idempotentUnary));
    const [aloneClient, bothClient] = [clientOf('alone'), clientOf('both')];
    await times(500, () => call(aloneClient));
    const attempts = alone.entries.length;
    check(attempts >= 505 && attempts <= 511, `500 RPCs caused ${attempts}`);
    // One protocol after the other: Python's servers speak one each.
    for (let turn = 0; turn < 4; turn++) {
      const isGrpc = turn % 2 === 0;
      both.set((isGrpc ? grpc : http).replicas.map(({ port }) => ({ host: '127.0.0.1', port })));
      await times(250, isGrpc ? () => call(bothClient) : get);
    }
    const total = grpc.entries.length + (await http.total());
    check(total >= 1005 && total <= 1011, `1,000 calls caused ${total} together`);
    await settled(mesh, 'both');
    aloneClient.close();
    bothClient.close();
    await mesh.close();
    return `${attempts} by gRPC alone, ${total} together`;
  },
};

/** The budget of HTTP, of gRPC, and of both on one cluster. */
export const boundedRetries: Line = {
  title: `${httpBudget.title}; the same by gRPC, and by both on one cluster`,
  async run(context) {
    return `${await httpBudget.run(context)}; ${await sharedBudget.run(context)}`;
  },
};
