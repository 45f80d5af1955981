import { silentLogger, systemRuntime } from '@inmesh/core';
import { mintDevSvid } from '@inmesh/identity';
import { createTestCa } from '@inmesh/identity/testing';
import { createMesh } from 'inmesh';
import type { Fleet, RunningService } from './fleet.js';
import { type Attempt, tryPlaintext, tryTls } from './intruders.js';

/** What happened so far. */
export interface Tally {
  /** Shop calls that went through the whole chain. */
  shop: number;
  /** Calls that failed though they should not have. */
  failed: string[];
  /** How many shop calls each replica of orders served, by pid. */
  readonly replicas: Map<number, number>;
  /** Attempts by intruder: refused. */
  readonly refused: Map<string, number>;
  /** Attempts that were let in. */
  letIn: string[];
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

async function record(tally: Tally, reply: Response): Promise<void> {
  const body = (await reply.json()) as ShopReply;
  const chain = [body.order?.calledBy, body.order?.item.calledBy, body.payment?.calledBy]
    .map((uri) => uri?.split('/').at(-1))
    .join();
  if (reply.status !== 200 || chain !== 'web,orders,web') {
    tally.failed.push(`${reply.status} ${JSON.stringify(body)}`);
    return;
  }
  tally.shop++;
  const pid = body.order?.pid ?? 0;
  tally.replicas.set(pid, (tally.replicas.get(pid) ?? 0) + 1);
}

/** Drives the fleet for `durationMs`: shop calls as an honest client, and every intruder against every service. */
export async function drive(
  fleet: Fleet,
  durationMs: number,
  show: (tally: Tally) => void,
): Promise<readonly string[]> {
  const tally: Tally = { shop: 0, failed: [], replicas: new Map(), refused: new Map(), letIn: [] };
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
  const shop = async (): Promise<void> => {
    while (performance.now() < endMs) await record(tally, await mesh.fetch('http://web/shop'));
  };
  const attack = async (): Promise<void> => {
    while (performance.now() < endMs) {
      for (const service of fleet.services) {
        for (const { who, attempt, isRefused } of intruders) {
          const result = await attempt(service);
          if (isRefused(result)) tally.refused.set(who, (tally.refused.get(who) ?? 0) + 1);
          else tally.letIn.push(`${who} at ${service.name}: ${result.reply.slice(0, 80)} ${result.error}`);
        }
        show(tally);
      }
    }
  };
  try {
    await Promise.all([shop(), shop(), attack()]);
    return judge(
      tally,
      await adminCounts(mesh, fleet),
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
  if (tally.replicas.size !== 3) failures.push(`${tally.replicas.size} of 3 replicas of orders were used`);
  for (const one of who) if ((tally.refused.get(one) ?? 0) === 0) failures.push(`never tried: ${one}`);
  if (counts.some((count) => count !== 0)) failures.push(`/admin ran for an intruder: ${counts.join()}`);
  return failures;
}
