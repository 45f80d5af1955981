import { Client } from '@grpc/grpc-js';
import { type Endpoint, WatchSource } from '@inmesh/core';
import type { Mesh } from 'inmesh';
import { mint } from './clients.js';
import type { Context } from './context.js';
import { check, sleep, until } from './harness.js';
import { inFlight, Ledger, meshClient, payByGrpc, type Replica } from './ledger.js';

/** How long and with which faults. */
export interface ChaosOptions {
  readonly seconds: number;
  readonly seed: number;
}

/** What was counted. */
export interface ChaosReport {
  readonly gets: number;
  readonly lostGets: readonly string[];
  readonly posts: number;
  readonly postsInDoubt: number;
  readonly rpcs: number;
  readonly rpcsInDoubt: number;
  readonly aborted: number;
  readonly duplicates: readonly string[];
  readonly faults: Readonly<Record<string, number>>;
  readonly leftInFlight: number;
  readonly leftSockets: number;
  readonly heapGrownMiB: number;
}

/** Chance with a seed: a run can be repeated. */
function createRandom(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 4_294_967_296;
  };
}

/** Replicas of one ledger, and the endpoints that clients are told. */
class Population {
  readonly ledger: Ledger;
  readonly endpoints = new WatchSource<readonly Endpoint[]>();

  constructor(ledger: Ledger) {
    this.ledger = ledger;
    this.publish();
  }

  publish(): void {
    this.endpoints.set(this.living.map(({ port }) => ({ host: '127.0.0.1', port })));
  }

  get living(): readonly Replica[] {
    return this.ledger.replicas.filter((one) => one.isAlive());
  }
}

type Fault = (population: Population, victim: Replica) => Promise<void>;

/** A killed replica stays in the endpoints for a while, as it does in any discovery. */
const kill: Fault = async (population, victim) => {
  victim.signal('SIGKILL');
  await sleep(800);
  await population.ledger.add();
  population.publish();
};

const stall: Fault = async (_population, victim) => {
  victim.signal('SIGSTOP');
  await sleep(900);
  victim.signal('SIGCONT');
};

const reset: Fault = async ({ ledger }, victim) => {
  await ledger.mode('reset:1', [victim]);
  await sleep(150);
  await ledger.mode('ok', [victim]);
};

const fail: Fault = async ({ ledger }, victim) => {
  await ledger.mode('fail', [victim]);
  await sleep(150);
  await ledger.mode('ok', [victim]);
};

const httpFaults: readonly (readonly [string, Fault])[] = [
  ['kill', kill],
  ['stall', stall],
  ['reset', reset],
  ['fail', fail],
];
const grpcFaults: readonly (readonly [string, Fault])[] = [
  ['kill-grpc', kill],
  ['stall-grpc', stall],
];

function countSockets(): number {
  return process.getActiveResourcesInfo().filter((one) => one === 'TCPSocketWrap' || one === 'TLSWrap')
    .length;
}

class Chaos {
  readonly #mesh: Mesh;
  readonly #payments: Client;
  readonly #random: () => number;
  readonly counts = { gets: 0, posts: 0, postsInDoubt: 0, rpcs: 0, rpcsInDoubt: 0, aborted: 0 };
  readonly lostGets: string[] = [];
  readonly faults: Record<string, number> = {};
  isOver = false;
  #next = 0;
  /** What is being done to the replicas of HTTP. */
  #fault = 'nothing';
  /** The last GET that failed, for a report. */
  #lastFailure = '';

  constructor(mesh: Mesh, payments: Client, random: () => number) {
    this.#mesh = mesh;
    this.#payments = payments;
    this.#random = random;
    mesh.on('decision', ({ method, httpStatus, attempts, endpoint }) => {
      if (method !== 'GET' || httpStatus === 200) return;
      const tokens = mesh.stats().clusters.find(({ name }) => name === 'ledger')?.retryTokens;
      this.#lastFailure = `attempt ${attempts} at ${endpoint}, ${tokens?.toFixed(1)} tokens left, ${this.#fault} under way`;
    });
  }

  async get(): Promise<void> {
    this.counts.gets++;
    try {
      const reply = await this.#mesh.fetch('http://ledger/item');
      const isSlowReader = this.#random() < 0.02;
      if (isSlowReader) await sleep(50);
      await reply.arrayBuffer();
      if (reply.status !== 200) throw new Error(`status ${reply.status}: ${this.#lastFailure}`);
    } catch (error) {
      this.lostGets.push(String((error as Error).cause ?? error));
    }
  }

  /** A caller that leaves. */
  async abort(): Promise<void> {
    const controller = new AbortController();
    const call = this.#mesh.fetch('http://ledger/item', { signal: controller.signal }).catch(() => undefined);
    if (this.#random() < 0.5) await sleep(1);
    controller.abort();
    await call;
    this.counts.aborted++;
  }

  async post(): Promise<void> {
    this.counts.posts++;
    await this.#mesh
      .fetch('http://ledger/payments', { method: 'POST', body: `p${this.#next++}` })
      .then(async (reply) => {
        await reply.arrayBuffer();
        if (reply.status !== 200) this.counts.postsInDoubt++;
      })
      .catch(() => this.counts.postsInDoubt++);
  }

  async rpc(): Promise<void> {
    this.counts.rpcs++;
    if ((await payByGrpc(this.#payments, `g${this.#next++}`)) !== 0) this.counts.rpcsInDoubt++;
  }

  async worker(work: () => Promise<void>): Promise<void> {
    while (!this.isOver) {
      await work();
      if (this.#random() < 0.02) await this.abort();
    }
  }

  /** One fault at a time: the others stay healthy. */
  async attack(population: Population, kinds: readonly (readonly [string, Fault])[]): Promise<void> {
    while (!this.isOver) {
      await sleep(1500 + this.#random() * 1500);
      if (this.isOver) return;
      const [name, fault] = kinds[Math.floor(this.#random() * kinds.length)] ?? ['', kill];
      const { living } = population;
      const victim = living[Math.floor(this.#random() * living.length)];
      if (victim === undefined) continue;
      this.faults[name] = (this.faults[name] ?? 0) + 1;
      if (kinds === httpFaults) this.#fault = name;
      await fault(population, victim);
      if (kinds === httpFaults) this.#fault = 'nothing';
    }
  }
}

/** What is reachable, in bytes. What is not collected yet says nothing of a leak. @throws Error without `--expose-gc` */
function heapUsed(): number {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new Error('the heap cannot be measured: run node with --expose-gc');
  gc();
  return process.memoryUsage().heapUsed;
}

/** Mixed load under random faults. @throws if it could not run; what went wrong is in the report. */
export async function runChaos(context: Context, { seconds, seed }: ChaosOptions): Promise<ChaosReport> {
  const who = await mint(context.bench, context.fleet.caDir, 'ledger');
  const http = new Population(await Ledger.http(context, who, 3));
  const grpc = new Population(await Ledger.grpc(context, who, 3));
  const socketsBefore = countSockets();
  const mesh = await meshClient(context, {
    upstreams: {
      ledger: {
        endpoints: http.endpoints,
        calls: { retry: { conditions: ['5xx', 'connect-failure', 'refused-stream'] } },
      },
      payments: { endpoints: grpc.endpoints, identity: 'ledger' },
    },
  });
  const payments = new Client('mesh:///payments', mesh.grpc.credentials(), mesh.grpc.channelOptions());
  const chaos = new Chaos(mesh, payments, createRandom(seed));
  for (let i = 0; i < 200; i++) await chaos.get();
  const heapBefore = heapUsed();
  const load = [
    ...Array.from({ length: 8 }, () => chaos.worker(() => chaos.get())),
    ...Array.from({ length: 4 }, () => chaos.worker(() => chaos.post())),
    ...Array.from({ length: 4 }, () => chaos.worker(() => chaos.rpc())),
    chaos.attack(http, httpFaults),
    chaos.attack(grpc, grpcFaults),
  ];
  const failure = await Promise.race([sleep(seconds * 1000), Promise.all(load)]).catch(
    (error: unknown) => error,
  );
  chaos.isOver = true;
  await Promise.all(load);
  if (failure instanceof Error) throw failure;
  await until(
    'calls to end',
    20_000,
    () => inFlight(mesh, 'ledger') + inFlight(mesh, 'payments') === 0,
  ).catch(() => {});
  const leftInFlight = inFlight(mesh, 'ledger') + inFlight(mesh, 'payments');
  payments.close();
  await mesh.close();
  await until('sockets to close', 10_000, () => countSockets() <= socketsBefore).catch(() => {});
  return {
    ...chaos.counts,
    lostGets: chaos.lostGets,
    duplicates: [...http.ledger.duplicates, ...grpc.ledger.duplicates],
    faults: chaos.faults,
    leftInFlight,
    leftSockets: Math.max(0, countSockets() - socketsBefore),
    heapGrownMiB: (heapUsed() - heapBefore) / 1_048_576,
  };
}

/** Fails unless zeroes are where zeroes are due. */
export function judgeChaos(report: ChaosReport): void {
  const { lostGets, duplicates, leftInFlight, leftSockets, heapGrownMiB } = report;
  check(lostGets.length === 0, `${lostGets.length} of ${report.gets} GETs lost: ${lostGets[0] ?? ''}`);
  check(
    duplicates.length === 0,
    `${duplicates.length} payments made twice: ${duplicates.slice(0, 3).join()}`,
  );
  check(leftInFlight === 0, `${leftInFlight} still in flight at the end`);
  check(leftSockets === 0, `${leftSockets} sockets left open`);
  check(heapGrownMiB < 48, `the heap grew by ${heapGrownMiB.toFixed(0)} MiB`);
  check(Object.keys(report.faults).length > 0, 'no fault was made');
}

/** A report in one line. */
export function printChaos(report: ChaosReport): string {
  const faults = Object.entries(report.faults)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
  return (
    `${report.gets} GETs (${report.lostGets.length} lost), ${report.posts} POSTs (${report.postsInDoubt} in doubt), ` +
    `${report.rpcs} gRPC (${report.rpcsInDoubt} in doubt), ${report.duplicates.length} duplicates, ` +
    `${report.aborted} left; ${faults}; in flight ${report.leftInFlight}, sockets ${report.leftSockets}, ` +
    `heap ${report.heapGrownMiB.toFixed(1)} MiB`
  );
}
