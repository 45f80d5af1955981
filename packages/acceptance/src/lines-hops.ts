import { fileURLToPath } from 'node:url';
import { curl, mint } from './clients.js';
import type { Context, Line } from './context.js';
import { check, type Service, until } from './harness.js';
import { Ledger, meshClient } from './ledger.js';

const script = fileURLToPath(new URL('hop-service.js', import.meta.url));

async function hop(
  { bench, fleet }: Context,
  name: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Service> {
  return await bench.service(name, { INMESH_DEV_CA_DIR: fleet.caDir, ...env }, bench.dir, script);
}

interface Seen {
  readonly posts: number;
  readonly leafLeftMs: number;
  readonly leafTold: number;
  readonly middleLeftMs: number;
  readonly middleTold: number;
}

async function seenBy({ web }: Context, { port }: Service): Promise<Seen> {
  return JSON.parse((await curl(web, port, '/seen')).body) as Seen;
}

export const relayedHeaders: Line = {
  title: "an application that relays its upstream's headers: one POST, one side effect",
  async run(context) {
    const who = await mint(context.bench, context.fleet.caDir, 'ledger');
    const ledger = await Ledger.http(context, who, 1);
    await ledger.mode('nack');
    const relay = await hop(context, 'relay', {
      INMESH_UPSTREAM_NEXT: ledger.addresses,
      INMESH_UPSTREAM_NEXT_IDENTITY: 'ledger',
    });
    const mesh = await meshClient(context, { upstreams: { relay: `127.0.0.1:${relay.port}` } });
    const reply = await mesh.fetch('http://relay/relay', { method: 'POST', body: 'pay' });
    await reply.arrayBuffer();
    await mesh.close();
    check(reply.status === 503, `status ${reply.status}`);
    const { body } = await curl(context.web, relay.port, '/relay', '-i');
    check(!/x-inmesh-nack|finagle-http-nack/i.test(body), `relayed: ${body.slice(0, 300)}`);
    const { posts } = await seenBy(context, relay);
    check(posts === 1, `one POST had ${posts} side effects`);
    return '1 side effect, no marker relayed';
  },
};

export const travellingDeadline: Line = {
  title:
    '300 ms over three hops (HTTP, gRPC, HTTP) with a sleeping leaf: 504 in time, the leaf is told and knew',
  async run(context) {
    const leaf = await hop(context, 'leaf');
    const middle = await hop(context, 'middle', { INMESH_UPSTREAM_LEAF: `127.0.0.1:${leaf.port}` });
    const front = await hop(context, 'front', {
      INMESH_UPSTREAM_NEXT: `127.0.0.1:${middle.port}`,
      INMESH_UPSTREAM_NEXT_IDENTITY: 'middle',
    });
    // Connections are opened before: a handshake on a busy machine is not what is measured.
    await curl(context.web, front.port, '/by-grpc', '-H', 'x-envoy-expected-rq-timeout-ms: 3000');
    const before = await seenBy(context, leaf);
    const startMs = performance.now();
    const { status } = await curl(
      context.web,
      front.port,
      '/by-grpc',
      '-H',
      'x-envoy-expected-rq-timeout-ms: 300',
    );
    const tookMs = performance.now() - startMs;
    check(status === 504, `status ${status}`);
    check(tookMs < 2500, `it took ${tookMs.toFixed(0)} ms`);
    await until(
      'the leaf is told',
      3000,
      async () => (await seenBy(context, leaf)).leafTold > before.leafTold,
    );
    const [atLeaf, atMiddle] = [await seenBy(context, leaf), await seenBy(context, middle)];
    check(atLeaf.leafLeftMs > 0 && atLeaf.leafLeftMs < 300, `the leaf had ${atLeaf.leafLeftMs} ms`);
    check(atMiddle.middleTold > 0, 'the hop between was not told');
    return `504 after ${tookMs.toFixed(0)} ms; the leaf had ${atLeaf.leafLeftMs.toFixed(0)} ms left`;
  },
};

export const queuedCalls: Line = {
  title: 'two first gRPC calls queued before resolution keep their own traces and deadlines',
  async run(context) {
    const who = await mint(context.bench, context.fleet.caDir, 'ledger');
    const ledger = await Ledger.grpc(context, who, 1);
    const front = await hop(context, 'front', {
      INMESH_UPSTREAM_NEXT: ledger.addresses,
      INMESH_UPSTREAM_NEXT_IDENTITY: 'ledger',
    });
    const ask = async (
      trace: string,
      timeoutMs: number,
    ): Promise<{ metadata: Record<string, string>; left: number }> => {
      const { status, body } = await curl(
        context.web,
        front.port,
        '/meta',
        '-H',
        `traceparent: 00-${trace.repeat(32)}-00f067aa0ba902b7-01`,
        '-H',
        `x-envoy-expected-rq-timeout-ms: ${timeoutMs}`,
      );
      check(status === 200, `${status} ${body}`);
      return JSON.parse(body) as { metadata: Record<string, string>; left: number };
    };
    const [a, b] = await Promise.all([ask('a', 8000), ask('b', 60_000)]);
    check(
      a.metadata['traceparent']?.includes('aaaa') && b.metadata['traceparent']?.includes('bbbb'),
      'traces are mixed',
    );
    check(a.left > 0 && a.left <= 8 && b.left > 20 && b.left <= 60, `deadlines: ${a.left} and ${b.left} s`);
    return `${a.left.toFixed(1)} s and ${b.left.toFixed(1)} s left`;
  },
};
