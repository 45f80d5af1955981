import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Client, Metadata } from '@grpc/grpc-js';
import { createMesh, type Mesh, type MeshOptions } from 'inmesh';
import { type Credentials, curl, mint } from './clients.js';
import type { Context } from './context.js';
import { check, hasEnded, peerFiles, until } from './harness.js';
import { grpcPython } from './peers.js';

/** A server in Python that is one of several replicas. */
export interface Replica {
  readonly port: number;
  readonly isAlive: () => boolean;
  readonly signal: (name: NodeJS.Signals) => void;
}

/** Replicas of a service in another language, and what they wrote into their common ledger. */
export class Ledger {
  readonly replicas: Replica[] = [];
  readonly #context: Context;
  readonly #file: string;
  readonly #command: readonly string[];
  readonly #who: Credentials;

  private constructor(context: Context, file: string, command: readonly string[], who: Credentials) {
    this.#context = context;
    this.#file = file;
    this.#command = command;
    this.#who = who;
  }

  /** HTTP replicas, by Python's own server. */
  static async http(context: Context, who: Credentials, count: number): Promise<Ledger> {
    const file = Ledger.#newFile(context);
    const command = ['python3', `${peerFiles}/ledger.py`, who.bundle, who.cert, who.key, file];
    return await new Ledger(context, file, command, who).#start(count);
  }

  /** gRPC replicas, by grpcio. @throws Skip */
  static async grpc(context: Context, who: Credentials, count: number): Promise<Ledger> {
    const { python, script } = grpcPython('grpc_server.py');
    const file = Ledger.#newFile(context);
    return await new Ledger(context, file, [python, script, who.bundle, who.cert, who.key, file], who).#start(
      count,
    );
  }

  static #next = 1;

  /** A name that no directory has. */
  static #newFile(context: Context): string {
    return context.bench.path(`payments-${Ledger.#next++}.txt`);
  }

  /** `host:port,…` of the replicas. */
  get addresses(): string {
    return this.replicas.map(({ port }) => `127.0.0.1:${port}`).join(',');
  }

  /** Payments that were made, in order. */
  get entries(): readonly string[] {
    return existsSync(this.#file)
      ? readFileSync(this.#file, 'utf8')
          .split('\n')
          .filter((line) => line !== '')
      : [];
  }

  /** Payments that were made more than once. */
  get duplicates(): readonly string[] {
    const seen = new Set<string>();
    return this.entries.filter((one) => {
      if (seen.has(one)) return true;
      seen.add(one);
      return false;
    });
  }

  async add(): Promise<Replica> {
    const [file = '', ...args] = this.#command;
    const child = this.#context.bench.program(file, args, this.#context.bench.path('ledger.log'));
    if (child.stdout === null) throw new Error(`${file} did not start`);
    for await (const line of createInterface({ input: child.stdout })) {
      const replica: Replica = {
        port: Number(line),
        isAlive: () => !hasEnded(child),
        signal: (name) => void child.kill(name),
      };
      this.replicas.push(replica);
      return replica;
    }
    throw new Error(`${file} ended before it listened; see ledger.log`);
  }

  /** Tells replicas how to behave. */
  async mode(text: string, which: readonly Replica[] = this.replicas): Promise<void> {
    for (const { port } of which) {
      const { status } = await curl(this.#who, port, '/mode', '-X', 'PUT', '--data-binary', text);
      check(status === 200, `mode ${text}: ${status}`);
    }
  }

  /** Requests a replica saw, and the headers of the last one. */
  async seen({
    port,
  }: Replica): Promise<{ readonly seen: number; readonly headers: Record<string, string> }> {
    const { body } = await curl(this.#who, port, '/seen');
    return JSON.parse(body) as { seen: number; headers: Record<string, string> };
  }

  /** Requests that all living replicas saw. */
  async total(): Promise<number> {
    const all = await Promise.all(this.replicas.filter((one) => one.isAlive()).map((one) => this.seen(one)));
    return all.reduce((sum, { seen }) => sum + seen, 0);
  }

  async #start(count: number): Promise<this> {
    for (let i = 0; i < count; i++) await this.add();
    return this;
  }
}

/** Our client, in this process: the servers are somebody else's. */
export async function meshClient(context: Context, options: MeshOptions): Promise<Mesh> {
  return await createMesh({
    env: {},
    serviceName: 'web',
    devCaDir: context.fleet.caDir,
    logLevel: 'off',
    ...options,
  });
}

/** What is in flight to a cluster, all counts together; 0 when nothing leaks. */
export function inFlight(mesh: Mesh, name: string): number {
  const stats = mesh.stats().clusters.find((one) => one.name === name);
  if (stats === undefined) return 0;
  return (
    stats.activeCalls +
    stats.pending +
    stats.activeRetries +
    stats.endpoints.reduce((sum, one) => sum + one.active, 0)
  );
}

/** Waits until nothing is in flight. */
export async function settled(mesh: Mesh, name: string): Promise<void> {
  await until(`nothing in flight to ${name}`, 10_000, () => inFlight(mesh, name) === 0);
}

/** Who the ledgers are. */
export async function ledgerIdentity({ bench, fleet }: Context): Promise<Credentials> {
  return await mint(bench, fleet.caDir, 'ledger');
}

/** A message of the test service with one text. */
export const toMessage = (text: string): Buffer => Buffer.from([10, text.length, ...Buffer.from(text)]);

/** Pays by gRPC; the status of a failure. */
export function payByGrpc(client: Client, id: string): Promise<number> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      '/demo.v1.Echo/Unary',
      toMessage,
      (bytes: Buffer) => bytes,
      id,
      new Metadata(),
      (error) => resolve(error?.code ?? 0),
    );
  });
}

/** Runs `count` workers until `isOver`. */
export async function workers(
  count: number,
  isOver: () => boolean,
  work: (worker: number) => Promise<void>,
): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, async (_, worker) => {
      while (!isOver()) await work(worker);
    }),
  );
}

/** 1,000 GETs by 8 workers, all of which must be answered 503; how many were. */
export async function thousandFailures(mesh: Mesh): Promise<number> {
  let ended = 0;
  let left = 1000;
  await workers(
    8,
    () => left <= 0,
    async () => {
      left--;
      const reply = await mesh.fetch('http://ledger/');
      await reply.arrayBuffer();
      ended++;
      check(reply.status === 503, `status ${reply.status}`);
    },
  );
  return ended;
}
