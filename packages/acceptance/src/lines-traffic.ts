import { Client } from '@grpc/grpc-js';
import type { EndpointReport } from 'inmesh';
import type { Credentials } from './clients.js';
import type { Context, Line } from './context.js';
import { check, sleep, until } from './harness.js';
import {
  inFlight,
  Ledger,
  ledgerIdentity,
  meshClient,
  payByGrpc,
  type Replica,
  settled,
  thousandFailures,
  toMessage,
  workers,
} from './ledger.js';

/** Everything a call can be repeated after: what may not be is up to the mesh. */
const eagerRetries =
  '5xx,reset,connect-failure,refused-stream,unavailable,cancelled,internal,retriable-4xx,503' as const;

/** What a payment ends with, so that it is made and its receipt never comes: see the peers. */
const marks = ['!', '?', '!', '?', '!', '?', '#'] as const;

/** Pays where every receipt is lost, one way or another. @returns how many were made */
async function lostReceipts(context: Context, who: Credentials): Promise<number> {
  const http = await Ledger.http(context, who, 3);
  const grpc = await Ledger.grpc(context, who, 3);
  const mesh = await meshClient(context, {
    upstreams: {
      ledger: { endpoints: http.addresses, rules: { outlier: false } },
      payments: { endpoints: grpc.addresses, identity: 'ledger', rules: { outlier: false } },
    },
    retryOn: eagerRetries,
  });
  const payments = new Client('mesh:///payments', mesh.grpc.credentials(), mesh.grpc.channelOptions());
  const paid = { http: [] as string[], grpc: [] as string[] };
  try {
    for (const [i, mark] of marks.entries()) {
      const id = `doubt${i}${mark}`;
      paid.http.push(id);
      const status = await mesh
        .fetch('http://ledger/payments', { method: 'POST', body: id })
        .then(async (reply) => {
          await reply.arrayBuffer();
          return reply.status;
        })
        .catch(() => 0);
      check(status !== 200, `${id}: a receipt came by HTTP`);
      paid.grpc.push(id);
      check((await payByGrpc(payments, id)) !== 0, `${id}: a receipt came by gRPC`);
    }
  } finally {
    payments.close();
    await mesh.close();
  }
  for (const [name, ledger] of Object.entries({ http, grpc }))
    check(
      ledger.entries.join() === paid[name as keyof typeof paid].join(),
      `receipts lost by ${name}: each is to be paid once, the ledger says ${ledger.entries.join()}`,
    );
  return 2 * marks.length;
}

export const killedReplica: Line = {
  title:
    'kill -9 of a replica under load: 0 failed GETs, 0 duplicated POSTs and gRPC payments, also where the receipt is lost after the payment',
  async run(context) {
    const who = await ledgerIdentity(context);
    const http = await Ledger.http(context, who, 3);
    const grpc = await Ledger.grpc(context, who, 3);
    const mesh = await meshClient(context, {
      upstreams: {
        ledger: http.addresses,
        payments: { endpoints: grpc.addresses, identity: 'ledger' },
      },
    });
    const payments = new Client('mesh:///payments', mesh.grpc.credentials(), mesh.grpc.channelOptions());
    let next = 0;
    let isOver = false;
    const tally = { get: 0, getFailed: 0, post: 0, postFailed: 0, rpc: 0, rpcFailed: 0 };
    const failures: string[] = [];
    const load = Promise.all([
      // 12 + 6 over 3 replicas of HTTP, 6 over 3 of gRPC: never more than 8 at one of them.
      workers(
        12,
        () => isOver,
        async () => {
          tally.get++;
          try {
            const reply = await mesh.fetch('http://ledger/item');
            await reply.arrayBuffer();
            if (reply.status !== 200) throw new Error(String(reply.status));
          } catch (error) {
            tally.getFailed++;
            failures.push(String((error as Error).cause ?? error));
          }
        },
      ),
      workers(
        6,
        () => isOver,
        async () => {
          tally.post++;
          const id = `p${next++}`;
          await mesh
            .fetch('http://ledger/payments', { method: 'POST', body: id })
            .then((reply) => reply.arrayBuffer())
            .catch(() => tally.postFailed++);
        },
      ),
      workers(
        6,
        () => isOver,
        async () => {
          tally.rpc++;
          if ((await payByGrpc(payments, `g${next++}`)) !== 0) tally.rpcFailed++;
        },
      ),
    ]);
    try {
      await sleep(1500);
      http.replicas[0]?.signal('SIGKILL');
      grpc.replicas[0]?.signal('SIGKILL');
      await sleep(2500);
      await Promise.all([http.add(), grpc.add()]);
      http.replicas[1]?.signal('SIGKILL');
      await sleep(1500);
    } finally {
      isOver = true;
      await load;
    }
    await settled(mesh, 'ledger');
    payments.close();
    await mesh.close();
    check(tally.getFailed === 0, `${tally.getFailed} of ${tally.get} GETs failed: ${failures[0] ?? ''}`);
    check(http.duplicates.length === 0, `paid twice: ${http.duplicates.slice(0, 3).join()}`);
    check(grpc.duplicates.length === 0, `paid twice by gRPC: ${grpc.duplicates.slice(0, 3).join()}`);
    // Not more lost than were in flight at what was killed.
    check(tally.postFailed <= 12, `${tally.postFailed} POSTs failed`);
    check(tally.rpcFailed <= 6, `${tally.rpcFailed} gRPC payments failed`);
    const lost = await lostReceipts(context, who);
    return `${tally.get} GETs, ${tally.post} POSTs (${tally.postFailed} in doubt), ${tally.rpc} gRPC (${tally.rpcFailed} in doubt); ${lost} payments without receipts made once`;
  },
};

export const bigFailures: Line = {
  title: '200 KB replies of 503 with one connection per endpoint: 1,000 GETs all end, in-flight 0',
  async run(context) {
    const ledger = await Ledger.http(context, await ledgerIdentity(context), 2);
    await ledger.mode('big');
    const mesh = await meshClient(context, {
      upstreams: { ledger: { endpoints: ledger.addresses, calls: { retry: { conditions: ['5xx'] } } } },
      poolSize: 1,
    });
    const ended = await thousandFailures(mesh);
    await settled(mesh, 'ledger');
    check(ended >= 1000 && inFlight(mesh, 'ledger') === 0, `${ended} ended`);
    await mesh.close();
    return `${ended} ended`;
  },
};

export const fastFailure: Line = {
  title:
    'an instantly failing replica gets < 2 % of traffic within 5 s; a stalled one is avoided after its first slow reply',
  async run(context) {
    const ledger = await Ledger.http(context, await ledgerIdentity(context), 3);
    const [bad, other] = ledger.replicas;
    if (bad === undefined || other === undefined) throw new Error('three replicas');
    const mesh = await meshClient(context, { upstreams: { ledger: ledger.addresses } });
    const ask = async (): Promise<void> => {
      await (await mesh.fetch('http://ledger/')).arrayBuffer();
    };
    for (let i = 0; i < 100; i++) await ask();
    await ledger.mode('fail', [bad]);
    let isOver = false;
    const load = workers(8, () => isOver, ask);
    // What is wrong is said below, and the servers are ended then.
    load.catch(() => {});
    await sleep(5000);
    const [badBefore, allBefore] = [(await ledger.seen(bad)).seen, await ledger.total()];
    await sleep(3000);
    const [badAfter, allAfter] = [(await ledger.seen(bad)).seen, await ledger.total()];
    const share = (badAfter - badBefore) / (allAfter - allBefore);
    check(share < 0.02, `the failing replica gets ${(share * 100).toFixed(1)} %`);
    const endpoints = (): readonly EndpointReport[] => mesh.stats().clusters.flatMap((one) => one.endpoints);
    const endpointOf = ({ port }: Replica): EndpointReport | undefined =>
      endpoints().find(({ address }) => address === `127.0.0.1:${port}`);
    const startedAtAll = (): number => endpoints().reduce((sum, { started }) => sum + started, 0);
    const startedAt = (replica: Replica): number => endpointOf(replica)?.started ?? 0;
    // The whole process stops: its event loop would, if it had one.
    other.signal('SIGSTOP');
    await sleep(2000);
    other.signal('SIGCONT');
    // What it held is answered late: from then on it is known to be slow.
    await until('the slow replies', 5000, () => endpointOf(other)?.active === 0);
    const [stalledBefore, before] = [startedAt(other), startedAtAll()];
    const begun = performance.now();
    // Counted by our own attempts, all at one moment, and over enough of them whatever the load of the machine.
    await until(
      'calls after the stall',
      10_000,
      () => performance.now() - begun > 1500 && startedAtAll() - before > 200,
    );
    const [stalled, all] = [startedAt(other) - stalledBefore, startedAtAll() - before];
    isOver = true;
    await load;
    check(stalled / all < 0.05, `the stalled replica gets ${((100 * stalled) / all).toFixed(1)} %`);
    await mesh.close();
    return `${(share * 100).toFixed(2)} %; after its stall ${((100 * stalled) / all).toFixed(1)} %`;
  },
};

export const longStreams: Line = {
  title:
    'a 40 s server-sent-events stream and a bidirectional stream survive the defaults; the endpoint is not taken for slow',
  async run(context) {
    const who = await ledgerIdentity(context);
    const grpc = await Ledger.grpc(context, who, 1);
    const { createServer } = await import('node:https');
    const { readFileSync } = await import('node:fs');
    // node:https alone: no part of it is ours.
    const sse = createServer(
      {
        cert: readFileSync(who.cert),
        key: readFileSync(who.key),
        ca: readFileSync(who.bundle),
        requestCert: true,
        rejectUnauthorized: true,
      },
      (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        let count = 0;
        const timer = setInterval(() => {
          response.write(`data: ${++count}\n\n`);
          if (count < 40) return;
          clearInterval(timer);
          response.end();
        }, 1000);
      },
    );
    await new Promise<void>((resolve) => sse.listen(0, '127.0.0.1', resolve));
    const { port } = sse.address() as { port: number };
    const mesh = await meshClient(context, {
      upstreams: {
        events: { endpoints: `127.0.0.1:${port}`, identity: 'ledger' },
        payments: { endpoints: grpc.addresses, identity: 'ledger' },
      },
    });
    const client = new Client('mesh:///payments', mesh.grpc.credentials(), mesh.grpc.channelOptions());
    const bidi = client.makeBidiStreamRequest('/demo.v1.Echo/Bidi', toMessage, (bytes: Buffer) => bytes);
    let echoed = 0;
    let status: number | undefined;
    bidi.on('data', () => echoed++);
    bidi.on('error', () => {});
    bidi.on('status', ({ code }: { code: number }) => (status = code));
    const text = await (async () => {
      const reply = await mesh.fetch('http://events/');
      let events = '';
      for await (const chunk of reply.body ?? []) {
        events += Buffer.from(chunk as Uint8Array).toString();
        bidi.write('ping');
      }
      return events;
    })();
    bidi.end();
    await until('the end of the bidirectional stream', 5000, () => status !== undefined);
    const costs = mesh
      .stats()
      .clusters.map(({ name, endpoints }) => [name, endpoints[0]?.costMs ?? 0] as const);
    client.close();
    await mesh.close();
    sse.close();
    check((text.match(/data:/g) ?? []).length === 40, `${text.length} bytes of events`);
    check(status === 0 && echoed >= 39, `bidi: status ${status}, ${echoed} echoes`);
    for (const [name, cost] of costs) check(cost < 3000, `${name} is taken for ${cost.toFixed(0)} ms slow`);
    return `40 events, ${echoed} echoes; ${costs.map(([name, cost]) => `${name} ${cost.toFixed(0)} ms`).join(', ')}`;
  },
};
