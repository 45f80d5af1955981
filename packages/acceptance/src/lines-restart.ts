import { existsSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Client, Metadata } from '@grpc/grpc-js';
import { type Endpoint, WatchSource } from '@inmesh/core';
import type { Mesh } from 'inmesh';
import WebSocket from 'ws';
import { type Credentials, tlsOptions } from './clients.js';
import type { Context, Line } from './context.js';
import { check, type Service, sleep } from './harness.js';
import { ledgerIdentity, meshClient, payByGrpc, settled, toMessage, workers } from './ledger.js';

const script = fileURLToPath(new URL('rolling-service.js', import.meta.url));
const restarts = 20;
const drainDelayMs = 300;
const drainTimeoutMs = 700;
/** What a SIGTERM may take: what was configured, the lingers, and a busy machine. */
const boundMs = drainDelayMs + drainTimeoutMs + 9000;

interface Replica {
  readonly service: Service;
  /** Resolves with its exit code. */
  readonly stop: () => Promise<number | null>;
}

/** What was asked for, and what of it went wrong. */
class Tally {
  readonly counts = { get: 0, post: 0, foreign: 0, unary: 0, stream: 0, events: 0, socket: 0 };
  readonly failures: string[] = [];

  /** Runs one call and counts it. */
  async of(kind: keyof Tally['counts'], call: () => Promise<void>): Promise<void> {
    this.counts[kind]++;
    try {
      await call();
    } catch (error) {
      const { cause, message } = error as Error;
      this.failures.push(`${kind}: ${cause instanceof Error ? cause.message : message}`);
    }
  }
}

/** Replicas of the ledger, of which one at a time is replaced. */
class Fleet {
  readonly endpoints = new WatchSource<readonly Endpoint[]>();
  readonly file: string;
  readonly #context: Context;
  #replicas: Replica[] = [];

  constructor(context: Context) {
    this.#context = context;
    this.file = context.bench.path('rolling.txt');
  }

  get current(): readonly Service[] {
    return this.#replicas.map(({ service }) => service);
  }

  /** Payments that were made. */
  get entries(): readonly string[] {
    return existsSync(this.file) ? readFileSync(this.file, 'utf8').trim().split('\n') : [];
  }

  async add(): Promise<void> {
    const { bench, fleet } = this.#context;
    const env = {
      INMESH_DEV_CA_DIR: fleet.caDir,
      INMESH_DRAIN_DELAY: `${drainDelayMs}ms`,
      INMESH_DRAIN_TIMEOUT: `${drainTimeoutMs}ms`,
      LEDGER: this.file,
    };
    const { service, exited } = await bench.running('ledger', env, script);
    this.#replicas.push({
      service,
      stop: () => {
        process.kill(service.pid, 'SIGTERM');
        return exited;
      },
    });
    this.#publish();
  }

  /** Stops the oldest; discovery learns of it a little later than the replica itself. */
  async replace(): Promise<number> {
    await this.add();
    const [oldest] = this.#replicas;
    if (oldest === undefined) throw new Error('no replica');
    const start = performance.now();
    const exited = oldest.stop();
    await sleep(100);
    this.#replicas = this.#replicas.slice(1);
    this.#publish();
    const code = await exited;
    check(code === 0, `a replica ended with ${String(code)}`);
    return performance.now() - start;
  }

  #publish(): void {
    this.endpoints.set(this.current.map(({ host, port }) => ({ host, port })));
  }
}

async function whole(reply: Response): Promise<void> {
  const text = await reply.text();
  check(reply.status === 200 && text === 'done', `${reply.status} ${text}`);
}

/** Asks with a client of somebody else's that keeps connections open, at a replica that discovery still names. */
function foreignPost(agent: Agent, { port }: Service, id: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ agent, host: 'localhost', port, method: 'POST' }, (reply: IncomingMessage) => {
      reply.resume();
      reply.on('end', () =>
        reply.statusCode === 200 ? resolve() : reject(new Error(`${reply.statusCode}`)),
      );
      reply.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(id);
  });
}

/** A conversation of five messages, each answered. */
function converse(client: Client): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = client.makeBidiStreamRequest(
      '/demo.v1.Echo/Bidi',
      toMessage,
      (bytes: Buffer) => bytes.toString(),
      new Metadata(),
    );
    let answers = 0;
    call.on('data', () => {
      if (++answers === 5) call.end();
      else setTimeout(() => call.write('x'), 20);
    });
    call.on('error', reject);
    call.on('status', ({ code }: { readonly code: number }) => {
      if (code === 0 && answers === 5) resolve();
    });
    call.write('x');
  });
}

/** Reads a stream of events to the end that the server gives it. */
async function readEvents(mesh: Mesh): Promise<void> {
  const reply = await mesh.fetch('http://ledger/events');
  const text = await reply.text();
  check(reply.status === 200 && text.endsWith('data: tick\n\n'), `events ended with ${text.slice(-20)}`);
}

/** Holds a WebSocket until the server closes it. */
function holdSocket({ port }: Service, who: Credentials): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://localhost:${port}/`, tlsOptions(who) as object);
    socket.on('error', reject);
    socket.on('close', (code) =>
      code === 1001 ? resolve() : reject(new Error(`a WebSocket was closed with ${code}`)),
    );
  });
}

/** Sockets that never say a word: one before TLS, one after. */
function openSilent({ port }: Service, who: Credentials): readonly Socket[] {
  const plain = connectTcp(port, '127.0.0.1');
  const secure = connectTls({ port, host: 'localhost', ...tlsOptions(who) });
  for (const socket of [plain, secure]) socket.on('error', () => {});
  return [plain, secure];
}

function oneOf<T>(list: readonly T[]): T {
  const one = list[Math.floor(Math.random() * list.length)];
  if (one === undefined) throw new Error('nothing to choose from');
  return one;
}

/** Calls of every kind until `isOver`; those that were made are in `paid`. */
async function load(
  fleet: Fleet,
  mesh: Mesh,
  client: Client,
  who: Credentials,
  tally: Tally,
  paid: string[],
  isOver: () => boolean,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, ...tlsOptions(who) });
  const newId = (): string => {
    paid.push(`p${paid.length}`);
    return `p${paid.length - 1}`;
  };
  const newest = (): Service => fleet.current.at(-1) ?? oneOf(fleet.current);
  const repeat = (count: number, kind: keyof Tally['counts'], call: () => Promise<void>): Promise<void> =>
    workers(count, isOver, () => tally.of(kind, call));
  await Promise.all([
    repeat(4, 'get', async () => await whole(await mesh.fetch('http://ledger/item'))),
    repeat(4, 'post', async () =>
      whole(await mesh.fetch('http://ledger/payments', { method: 'POST', body: newId() })),
    ),
    repeat(2, 'foreign', () => foreignPost(agent, oneOf(fleet.current), newId())),
    repeat(4, 'unary', async () => {
      const status = await payByGrpc(client, newId());
      check(status === 0, `gRPC status ${status}`);
    }),
    repeat(2, 'stream', () => converse(client)),
    repeat(1, 'events', () => readEvents(mesh)),
    repeat(1, 'socket', () => holdSocket(newest(), who)),
  ]);
  agent.destroy();
}

export const rollingRestarts: Line = {
  title:
    '20 rolling SIGTERMs under GET, POST, gRPC, streams, events, WebSockets and silent sockets: 0 failed, 0 twice, exit 0 in time',
  async run(context) {
    const who = await ledgerIdentity(context);
    const fleet = new Fleet(context);
    for (let i = 0; i < 3; i++) await fleet.add();
    const mesh = await meshClient(context, { upstreams: { ledger: { endpoints: fleet.endpoints } } });
    const client = new Client('mesh:///ledger', mesh.grpc.credentials(), mesh.grpc.channelOptions());
    const tally = new Tally();
    const paid: string[] = [];
    let isOver = false;
    const calls = load(fleet, mesh, client, who, tally, paid, () => isOver);
    const silent: Socket[] = [];
    let longestMs = 0;
    try {
      for (let i = 0; i < restarts; i++) {
        for (const service of fleet.current) silent.push(...openSilent(service, who));
        longestMs = Math.max(longestMs, await fleet.replace());
      }
    } finally {
      isOver = true;
      // Events and WebSockets end with their replicas.
      for (let i = 0; i < 3; i++) await fleet.replace();
      await calls;
      for (const socket of silent) socket.destroy();
    }
    await settled(mesh, 'ledger');
    client.close();
    await mesh.close();
    const { failures, counts } = tally;
    check(
      failures.length === 0,
      `${failures.length} failed: ${[...new Set(failures)].slice(0, 5).join('; ')}`,
    );
    const { entries } = fleet;
    check(new Set(entries).size === entries.length, 'paid twice');
    check(entries.length === paid.length, `${paid.length} payments, ${entries.length} in the ledger`);
    check(longestMs < boundMs, `a replica took ${Math.round(longestMs)} ms to end`);
    const { get, post, foreign, unary, stream, events, socket } = counts;
    return `${get} GETs, ${post} POSTs, ${foreign} of node:https, ${unary} gRPC, ${stream} conversations, ${events} event streams, ${socket} WebSockets; longest end ${Math.round(longestMs)} ms`;
  },
};
