import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, rmSync, writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Counts, counts, curl, rawTls } from './clients.js';
import type { Line } from './context.js';
import { check, run, type Service, sleep, until } from './harness.js';
import { Ledger, ledgerIdentity, meshClient, settled } from './ledger.js';
import { grpcPython } from './peers.js';

const bodyBytes = 256 * 1024 * 1024;

/** What a handler reads of an upload in a second, at most. */
const uploadRate = 64_000_000;

async function sha256Of(parts: AsyncIterable<unknown> | Iterable<unknown>): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of parts) hash.update(part as Buffer);
  return hash.digest('hex');
}

/**
 * What `/stream` of the demo sends: parts of 64 KiB that begin with their offsets.
 *
 * @yields A part; it is overwritten by the next.
 */
function* streamed(): Iterable<Buffer> {
  const part = Buffer.alloc(65_536, 'x');
  for (let offset = 0; offset < bodyBytes; offset += part.length) {
    part.writeBigUInt64BE(BigInt(offset));
    yield part;
  }
}

export const bigBodies: Line = {
  title:
    '256 MiB both ways and in the three kinds of gRPC streams with a slow reader: memory bounded; size limit; aborts are told',
  async run({ bench, web, service }) {
    const { port } = service('catalog');
    const file = bench.path('big');
    const chunk = Buffer.alloc(1024 * 1024, 'inmesh ');
    writeFileSync(file, '');
    for (let i = 0; i < 256; i++) writeFileSync(file, chunk, { flag: 'a' });
    const sha256 = await sha256Of(createReadStream(file));
    const before = await counts(web, port);
    let peak = before.rss;
    const watching = { isOn: true };
    const watch = (async () => {
      while (watching.isOn) {
        peak = Math.max(peak, (await counts(web, port)).rss);
        await sleep(100);
      }
    })();
    const startMs = performance.now();
    const up = await curl(web, port, `/upload?bytesPerSecond=${uploadRate}`, '-T', file);
    const uploadSeconds = (performance.now() - startMs) / 1000;
    check(uploadSeconds > (0.9 * bodyBytes) / uploadRate, `the handler read all in ${uploadSeconds} s`);
    check(up.body === JSON.stringify({ length: bodyBytes, sha256 }), `upload: ${up.status} ${up.body}`);
    const got = bench.path('got');
    const down = await curl(web, port, `/stream?bytes=${bodyBytes}`, '-o', got, '--limit-rate', '100M');
    check(down.status === 200, `download: ${down.status} ${down.error}`);
    check((await sha256Of(createReadStream(got))) === (await sha256Of(streamed())), 'download: other bytes');
    rmSync(got);
    watching.isOn = false;
    await watch;
    const grown = (peak - before.rss) / 1_048_576;
    check(grown < 150, `memory grew by ${grown.toFixed(0)} MiB`);
    const leaver = await rawTls(port, web);
    leaver.write(`GET /stream?bytes=${bodyBytes} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    await once(leaver, 'data');
    leaver.destroy();
    await until(
      'the handler hears of it',
      10_000,
      async () => (await counts(web, port)).aborted > before.aborted,
    );
    const grpc = await grpcStreams(web, service('payments'));
    return `memory grew by ${Math.max(0, grown).toFixed(0)} MiB (HTTP), ${grpc} (gRPC)`;
  },
};

async function grpcStreams(web: Parameters<typeof counts>[0], payments: Service): Promise<string> {
  const { python, script } = grpcPython('grpc_client.py');
  const call = async (
    kind: string,
    bytes: number,
  ): Promise<{ readonly code: number; readonly bytes: number; readonly details?: string }> => {
    const { stdout, stderr } = await run(
      python,
      [script, `localhost:${payments.port}`, kind, String(bytes), web.bundle, web.cert, web.key],
      { timeoutMs: 300_000 },
    );
    if (stdout === '') throw new Error(`grpcio ${kind}: ${stderr.slice(-400)}`);
    return JSON.parse(stdout) as { code: number; bytes: number };
  };
  const before: Counts = await counts(web, payments.port);
  let peak = before.rss;
  const watching = { isOn: true };
  const watch = (async () => {
    while (watching.isOn) {
      peak = Math.max(peak, (await counts(web, payments.port)).rss);
      await sleep(100);
    }
  })();
  for (const kind of ['client', 'server', 'bidi']) {
    const { code, bytes, details } = await call(kind, bodyBytes);
    check(
      code === 0 && bytes === bodyBytes,
      `grpcio ${kind}: status ${code} ${details ?? ''}, ${bytes} bytes`,
    );
  }
  watching.isOn = false;
  await watch;
  const grown = (peak - before.rss) / 1_048_576;
  check(grown < 200, `gRPC: memory grew by ${grown.toFixed(0)} MiB`);
  const big = await call('unary', 5 * 1024 * 1024);
  check(big.code === 8, `an oversized message got status ${big.code}`);
  await call('cancel', bodyBytes);
  await until(
    'the gRPC handler hears of it',
    10_000,
    async () => (await counts(web, payments.port)).aborted > before.aborted,
  );
  return `${Math.max(0, grown).toFixed(0)} MiB`;
}

function streamOf(bytes: Buffer): RequestInit {
  const parts = Array.from({ length: Math.ceil(bytes.length / 4096) }, (_, i) =>
    bytes.subarray(i * 4096, (i + 1) * 4096),
  );
  return {
    method: 'PUT',
    body: Readable.toWeb(Readable.from(parts)) as ReadableStream,
    duplex: 'half',
  } as RequestInit;
}

/** A body of so many bytes, each part a new buffer: what is kept of it is seen. */
function endless(bytes: number): Readable {
  const partBytes = 65_536;
  function* parts(): Iterable<Buffer> {
    for (let left = bytes; left > 0; left -= partBytes) yield Buffer.alloc(Math.min(left, partBytes), 'x');
  }
  return Readable.from(parts(), { objectMode: true, highWaterMark: 1 });
}

/** How many MiB of buffers are held while something runs, beyond those before; without what is only not yet collected. */
async function grownDuring(work: () => Promise<void>): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const held = (): number => {
    collect();
    return process.memoryUsage().arrayBuffers;
  };
  const before = held();
  let peak = before;
  const timer = setInterval(() => {
    peak = Math.max(peak, held());
  }, 100);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return (peak - before) / 1_048_576;
}

export const streamedBodies: Line = {
  title:
    'a streamed 48 KiB PUT reset at 20 KB arrives whole elsewhere; 10 MB is not sent again; 200 MiB are sent in bounded memory',
  async run(context) {
    const ledger = await Ledger.http(context, await ledgerIdentity(context), 2);
    const [bad, good] = ledger.replicas;
    if (bad === undefined || good === undefined) throw new Error('two replicas');
    await ledger.mode('reset:20000', [bad]);
    const mesh = await meshClient(context, {
      upstreams: {
        ledger: { endpoints: ledger.addresses, rules: { outlier: false, balancer: 'round-robin' } },
      },
    });
    const body = Buffer.alloc(48 * 1024, 'inmesh');
    const sha256 = createHash('sha256').update(body).digest('hex');
    for (let i = 0; i < 4; i++) {
      const reply = (await (await mesh.fetch('http://ledger/upload', streamOf(body))).json()) as {
        readonly length: number;
        readonly sha256: string;
      };
      check(reply.length === body.length && reply.sha256 === sha256, `arrived: ${JSON.stringify(reply)}`);
    }
    check((await ledger.seen(bad)).seen > 0, 'the endpoint that resets was never tried');
    await ledger.mode('reset:5000000');
    const before = await ledger.total();
    const large = Buffer.alloc(10_000_000, 'x');
    const outcome = await mesh.fetch('http://ledger/upload', streamOf(large)).then(
      (reply) => `status ${reply.status}`,
      (error: Error) => String((error.cause as { code?: string } | undefined)?.code),
    );
    check(outcome === 'INMESH_ERR_CONNECTION_LOST', `10 MB: ${outcome}`);
    const sent = (await ledger.total()) - before;
    check(sent === 1, `10 MB was sent ${sent} times`);
    await ledger.mode('ok');
    const grownMiB = await grownDuring(async () => {
      const bytes = 200 * 1_048_576;
      // Not by fetch: on Node 20 it keeps a streamed body itself, mesh or no mesh.
      const { body: answer } = await mesh.dispatcher.request({
        origin: 'http://ledger',
        path: '/upload',
        method: 'PUT',
        body: endless(bytes),
      });
      const reply = (await answer.json()) as { readonly length: number };
      check(reply.length === bytes, `200 MiB: ${reply.length} arrived`);
    });
    check(grownMiB < 64, `buffers grew by ${grownMiB.toFixed(0)} MiB while 200 MiB were sent`);
    await settled(mesh, 'ledger');
    await mesh.close();
    return `same SHA-256 4 times; 10 MB sent once; 200 MiB with ${grownMiB.toFixed(1)} MiB at most`;
  },
};
