import { silentLogger, systemRuntime } from '@inmesh/core';
import { mintDevSvid } from '@inmesh/identity';
import { createTestCa } from '@inmesh/identity/testing';
import { createMesh } from 'inmesh';
import { type Fleet, type FleetStarter, labelOf, type RunningService } from './fleet.js';
import { type Attempt, tryPlaintext, tryTls } from './intruders.js';
import { readTopology, type Topology } from './topology.js';

/** What happened so far. */
export interface Tally {
  /** Shop calls that went through the whole chain. */
  shop: number;
  /** Calls that failed though they should not have. */
  failed: string[];
  /** How many shop calls each replica of orders served, by name: `orders-0`. */
  readonly replicas: Map<string, number>;
  /** Payments that were acknowledged, and those nobody can tell of. */
  paid: number;
  inDoubt: number;
  /** What the ledger says: payments, and those that were made twice. */
  ledger: { readonly payments: number; readonly duplicates: number };
  /** What callers know of whom they call, at the end. */
  hops: readonly HopRow[];
  /** What `/frozen` answered before and after a policy came that denies it. */
  frozen: readonly number[];
  /** What the metrics of the services say, at the end. */
  topology: Topology;
  /** Attempts by intruder: refused. */
  readonly refused: Map<string, number>;
  /** Attempts that were let in. */
  letIn: string[];
}

/** One line of the table at the end: a caller, and what it knows of a cluster. */
interface HopRow {
  readonly from: string;
  readonly to: string;
  readonly calls: number;
  readonly retries: number;
  readonly ejections: number;
  readonly p50: number;
  readonly p99: number;
  /** Attempts by replica, in the order of replicas. */
  readonly shares: readonly { readonly replica: string; readonly attempts: number }[];
}

/** One intruder: how it tries, and what a refusal of it looks like. */
interface Intruder {
  readonly who: string;
  readonly attempt: (service: RunningService) => Promise<Attempt>;
  readonly isRefused: (attempt: Attempt) => boolean;
}

async function recruit(caDir: string): Promise<readonly Intruder[]> {
  const stranger = await mintDevSvid({
    dir: caDir,
    trustDomain: 'dev.local',
    namespace: 'default',
    service: 'intruder',
    ttlMs: 3_600_000,
    isForced: true,
    env: {},
    runtime: systemRuntime,
    logger: silentLogger,
  });
  const foreign = await (await createTestCa('dev.local')).issue('/ns/default/sa/web');
  const noReply = ({ reply }: Attempt): boolean => reply === '';
  return [
    {
      who: 'valid identity, no permission',
      attempt: (at) => tryTls('stranger', at, { cert: stranger.certPem, key: stranger.keyPem }),
      isRefused: ({ reply }) => reply.startsWith('HTTP/1.1 403'),
    },
    {
      who: "foreign CA, web's own name",
      attempt: (at) => tryTls('forger', at, { cert: foreign.certPem, key: foreign.keyPem }),
      isRefused: noReply,
    },
    { who: 'no certificate', attempt: (at) => tryTls('nobody', at, {}), isRefused: noReply },
    { who: 'plaintext', attempt: (at) => tryPlaintext('plain', at), isRefused: noReply },
  ];
}

function addressesOf(fleet: Fleet, name: string): string {
  return fleet.services
    .filter((one) => one.name === name)
    .map(({ host, port }) => `${host}:${port}`)
    .join(',');
}

/** What the services say about who called them, and which replica of orders it was. */
interface ShopReply {
  readonly order?: {
    readonly pid: number;
    readonly calledBy: string;
    readonly item: { readonly calledBy: string };
  };
  readonly payment?: { readonly calledBy: string };
}

async function record(tally: Tally, reply: Response, starter: FleetStarter): Promise<void> {
  const body = (await reply.json()) as ShopReply;
  const chain = [body.order?.calledBy, body.order?.item.calledBy, body.payment?.calledBy]
    .map((uri) => uri?.split('/').at(-1))
    .join();
  if (reply.status !== 200 || chain !== 'web,orders,web') {
    tally.failed.push(`${reply.status} ${JSON.stringify(body)}`);
    return;
  }
  tally.shop++;
  const { services } = starter.fleet();
  // One that answered and was replaced meanwhile can only be the one that is killed.
  const served = services.find(({ pid }) => pid === body.order?.pid);
  const label = served === undefined ? 'orders-0' : labelOf(services, served);
  tally.replicas.set(label, (tally.replicas.get(label) ?? 0) + 1);
}

interface StatsReply {
  readonly hops: Readonly<Record<string, { readonly p50: number; readonly p99: number }>>;
  readonly clusters: readonly {
    readonly name: string;
    readonly calls: number;
    readonly retries: number;
    readonly ejections: number;
    readonly endpoints: readonly { readonly address: string; readonly started: number }[];
  }[];
}

/** Asks a service what it knows of those it calls. */
async function hopsOf(fetcher: typeof fetch, service: string, fleet: Fleet): Promise<readonly HopRow[]> {
  const { hops, clusters } = (await (await fetcher(`http://${service}/stats`)).json()) as StatsReply;
  return clusters.map(({ name, calls, retries, ejections, endpoints }) => ({
    from: service,
    to: name,
    calls,
    retries,
    ejections,
    p50: hops[name]?.p50 ?? 0,
    p99: hops[name]?.p99 ?? 0,
    shares: fleet.services.flatMap((one) => {
      const endpoint = endpoints.find(({ address }) => address === `${one.host}:${one.port}`);
      return endpoint === undefined
        ? []
        : [{ replica: labelOf(fleet.services, one), attempts: endpoint.started }];
    }),
  }));
}

async function pay(tally: Tally, fetcher: typeof fetch, id: string): Promise<void> {
  try {
    const reply = await fetcher('http://web/payments', { method: 'POST', body: id });
    await reply.arrayBuffer();
    if (reply.status === 200) tally.paid++;
    else tally.inDoubt++;
  } catch {
    tally.inDoubt++;
  }
}

/** A replica of orders dies under load and comes back at its address. */
async function disturb(starter: FleetStarter, durationMs: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, durationMs * 0.35));
  starter.kill('orders', 0);
  await new Promise((resolve) => setTimeout(resolve, durationMs * 0.2));
  await starter.restart('orders', 0);
}

/** Shop calls that show who gets how much. */
const minCalls = 100;

/** A policy comes while everything is called. */
async function changePolicies(
  tally: Tally,
  fetcher: typeof fetch,
  starter: FleetStarter,
  durationMs: number,
): Promise<void> {
  const ask = async (): Promise<number> => {
    const reply = await fetcher('http://catalog/frozen');
    await reply.arrayBuffer();
    return reply.status;
  };
  await new Promise((resolve) => setTimeout(resolve, durationMs * 0.5));
  const before = await ask();
  starter.changePolicies();
  const endMs = performance.now() + 10_000;
  let after = before;
  while (after === before && performance.now() < endMs) after = await ask();
  tally.frozen = [before, after];
}

const nothing: Omit<Tally, 'replicas' | 'refused'> = {
  shop: 0,
  failed: [],
  paid: 0,
  inDoubt: 0,
  ledger: { payments: 0, duplicates: 0 },
  hops: [],
  frozen: [],
  topology: { edges: [], rotations: 0 },
  letIn: [],
};

/** Every intruder against every service, as long as `isOn`. */
async function attackAll(
  tally: Tally,
  starter: FleetStarter,
  intruders: readonly Intruder[],
  isOn: () => boolean,
  show: () => void,
): Promise<void> {
  while (isOn()) {
    // Whoever is dead or starting has nobody to attack.
    const alive = starter.fleet().services.filter((one) => !(one.name === 'orders' && one.replica === 0));
    for (const service of alive) {
      for (const { who, attempt, isRefused } of intruders) {
        const result = await attempt(service);
        if (isRefused(result)) tally.refused.set(who, (tally.refused.get(who) ?? 0) + 1);
        else tally.letIn.push(`${who} at ${service.name}: ${result.reply.slice(0, 80)} ${result.error}`);
      }
      show();
    }
  }
}

/** Drives the fleet for `durationMs`: shop calls as an honest client, and every intruder against every service. */
export async function drive(
  starter: FleetStarter,
  durationMs: number,
  show: (tally: Tally) => void,
): Promise<readonly string[]> {
  const fleet = starter.fleet();
  const tally: Tally = { ...nothing, failed: [], letIn: [], replicas: new Map(), refused: new Map() };
  const upstreams = Object.fromEntries(fleet.services.map(({ name }) => [name, addressesOf(fleet, name)]));
  const mesh = await createMesh({
    env: {},
    serviceName: 'admin',
    devCaDir: fleet.caDir,
    upstreams,
    logger: silentLogger,
  });
  const intruders = await recruit(fleet.caDir);
  const endMs = performance.now() + durationMs;
  // On a busy machine few calls fit into the time, and a few calls show little.
  const isOn = (): boolean =>
    performance.now() < endMs ||
    (performance.now() < endMs + 3 * durationMs && (tally.shop < minCalls || tally.replicas.size < 4));
  const shop = async (): Promise<void> => {
    while (isOn()) await record(tally, await mesh.fetch('http://web/shop'), starter);
  };
  const buy = async (): Promise<void> => {
    for (let i = 0; isOn(); i++) await pay(tally, mesh.fetch, String(i));
  };
  try {
    const attack = (): Promise<void> => attackAll(tally, starter, intruders, isOn, () => show(tally));
    await Promise.all([
      shop(),
      shop(),
      shop(),
      buy(),
      attack(),
      disturb(starter, durationMs),
      changePolicies(tally, mesh.fetch, starter, durationMs),
    ]);
    tally.ledger = (await (await mesh.fetch('http://payments/ledger')).json()) as Tally['ledger'];
    const after = starter.fleet();
    tally.hops = [
      ...(await hopsOf(mesh.fetch, 'web', after)),
      ...(await hopsOf(mesh.fetch, 'orders', after)),
    ];
    tally.topology = await readTopology(after.services);
    show(tally);
    return judge(
      tally,
      await adminCounts(mesh, starter.fleet()),
      intruders.map(({ who }) => who),
    );
  } finally {
    await mesh.close();
  }
}

/** How often `/admin` ran, by service. */
async function adminCounts(mesh: { readonly fetch: typeof fetch }, fleet: Fleet): Promise<readonly number[]> {
  return await Promise.all(
    fleet.services.map(
      async ({ name }) =>
        ((await (await mesh.fetch(`http://${name}/count`)).json()) as { admin: number }).admin,
    ),
  );
}

function judge(tally: Tally, counts: readonly number[], who: readonly string[]): readonly string[] {
  const failures = [...tally.failed.slice(0, 3), ...tally.letIn.slice(0, 3)];
  if (tally.shop < 10) failures.push(`only ${tally.shop} shop calls went through`);
  if (tally.replicas.size < 4) failures.push(`${tally.replicas.size} of 4 replicas of orders were used`);
  if (tally.paid < 10) failures.push(`only ${tally.paid} payments`);
  if (tally.ledger.duplicates > 0) failures.push(`${tally.ledger.duplicates} payments were made twice`);
  const toOrders = tally.hops.find(({ from, to }) => from === 'web' && to === 'orders');
  if (toOrders === undefined || toOrders.retries === 0) failures.push('nothing was retried');
  if (tally.frozen.join(' ') !== '404 403') failures.push(`a policy changed ${tally.frozen.join(' to ')}`);
  if (tally.topology.rotations === 0) failures.push('no certificate was renewed');
  for (const one of who) if ((tally.refused.get(one) ?? 0) === 0) failures.push(`never tried: ${one}`);
  if (counts.some((count) => count !== 0)) failures.push(`/admin ran for an intruder: ${counts.join()}`);
  return failures;
}
