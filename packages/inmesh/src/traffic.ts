import {
  createCheckedEndpoints,
  type MeshConfig,
  type ResolvedConfig,
  staticEndpoints,
  type Upstream,
} from '@inmesh/config';
import type { EndpointSource, EndpointsOptions } from '@inmesh/config/endpoints';
import {
  type Cluster,
  createTimer,
  type Endpoint,
  type Logger,
  type Route,
  type Runtime,
  WatchSource,
} from '@inmesh/core';
import type { BalancerFactory } from '@inmesh/resilience';
import { planTraffic } from './traffic-plan.js';

/** What {@link buildTraffic} needs beside the configuration. */
export interface TrafficParts {
  /** Time and chance. */
  readonly runtime: Runtime;
  /** Told when names of endpoints cannot be looked up. */
  readonly logger: Logger;
  /** Balancers of the user's, by upstream; here only checked. @defaultValue none */
  readonly balancers?: Readonly<Record<string, BalancerFactory>> | undefined;
  /** How names are looked up. @defaultValue as the system does */
  readonly dns?: Pick<EndpointsOptions, 'lookup' | 'resolveSrv'> | undefined;
}

/** Clusters and routes of a configuration, as a snapshot has them. */
export interface Traffic {
  /** Clusters by name. */
  readonly clusters: ReadonlyMap<string, Cluster>;
  /** Routes by mesh name. */
  readonly routes: ReadonlyMap<string, readonly Route[]>;
  /** Where endpoints are looked up, by cluster; those with addresses alone are not here. Refresh after failed connections. */
  readonly sources: ReadonlyMap<string, EndpointSource>;
  /** Ends when every lookup has had its first answer or its first failure, and after `timeoutMs` milliseconds at the latest. */
  lookedUp(timeoutMs: number): Promise<void>;
  /** Ends the lookups, and lets go of sources of the user's; except those that `kept`, which is in force now, has too. */
  closeUnless(kept?: Traffic): void;
}

/** Endpoints of an upstream, while they are in use. */
interface OpenEndpoints {
  /** What they are read from: as long as that is the same they stay. */
  readonly upstream: Upstream;
  readonly endpoints: Cluster['endpoints'];
  /** Where they are looked up, if they are. */
  readonly source: EndpointSource | undefined;
  readonly close: () => void;
}

function isSameSource(one: Upstream, other: Upstream): boolean {
  if (one.endpoints.kind === 'watch' || other.endpoints.kind === 'watch')
    return one.endpoints.kind === 'watch' && other.endpoints.kind === 'watch'
      ? one.endpoints.watch === other.endpoints.watch
      : false;
  return JSON.stringify(one.endpoints.specs) === JSON.stringify(other.endpoints.specs);
}

/** The first calls are not to fail because a name is still being looked up; a name that is not found stops no start. */
function firstLookup(
  cluster: string,
  source: EndpointSource,
  timeoutMs: number,
  { runtime, logger }: TrafficParts,
): Promise<void> {
  return new Promise((resolve) => {
    let stop: (() => void) | undefined;
    const isOver = (): boolean => source.state.kind !== 'pending' || source.state.error !== undefined;
    const finish = (): void => {
      runtime.disarm(timer);
      stop?.();
      resolve();
    };
    const timer = createTimer(() => {
      logger.warn({ cluster, timeoutMs }, 'where endpoints are has not been found out yet');
      finish();
    });
    runtime.arm(timer, timeoutMs);
    stop = source.subscribe(() => {
      if (isOver()) finish();
    });
    if (isOver()) stop();
  });
}

/** Opens the endpoints of an upstream; the module that asks DNS is loaded only if there is a name. */
async function openEndpoints(
  upstream: Upstream,
  intervalMs: number,
  { runtime, logger, dns = {} }: TrafficParts,
): Promise<OpenEndpoints> {
  const { name, endpoints } = upstream;
  if (endpoints.kind === 'watch') {
    const checked = createCheckedEndpoints(endpoints.watch, { where: `upstreams.${name}.endpoints`, logger });
    return { upstream, endpoints: checked, source: undefined, close: () => checked.close() };
  }
  if (endpoints.specs.every((spec) => spec.kind === 'static')) {
    const fixed = new WatchSource<readonly Endpoint[]>();
    fixed.set(Object.freeze(staticEndpoints(endpoints.specs)));
    return { upstream, endpoints: fixed, source: undefined, close: () => {} };
  }
  const { createEndpoints } = await import('@inmesh/config/endpoints');
  const source = createEndpoints(endpoints.specs, { runtime, logger, intervalMs, ...dns });
  return { upstream, endpoints: source, source, close: () => source.close() };
}

const opened = new WeakMap<Traffic, ReadonlyMap<string, OpenEndpoints>>();

/** Endpoints of each upstream: those that were open before, where nothing about them has changed. */
async function openAll(
  { upstreams, dnsInterval }: MeshConfig,
  parts: TrafficParts,
  before: ReadonlyMap<string, OpenEndpoints>,
): Promise<ReadonlyMap<string, OpenEndpoints>> {
  const open = new Map<string, OpenEndpoints>();
  for (const upstream of upstreams.values()) {
    const known = before.get(upstream.name);
    const isKept = known !== undefined && isSameSource(known.upstream, upstream);
    open.set(upstream.name, isKept ? known : await openEndpoints(upstream, dnsInterval, parts));
  }
  return open;
}

/**
 * Completes a configuration with defaults, checks it as a whole, and begins to look its endpoints up. It waits for no
 * answer, see {@link Traffic.lookedUp}: a cluster whose names are not found yet is there, without endpoints.
 *
 * Rules: those of `@inmesh/resilience` < settings < the upstream's < the route's.
 *
 * @param before - What is in force: endpoints that have not changed are shared with it; the caller ends the others with
 * {@link Traffic.closeUnless}.
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID` naming every problem at once; nothing is open then.
 */
export async function buildTraffic(
  resolved: ResolvedConfig,
  parts: TrafficParts,
  before?: Traffic,
): Promise<Traffic> {
  const { plans, routes } = planTraffic(resolved, parts.balancers);
  const known = before === undefined ? undefined : opened.get(before);
  const open = await openAll(resolved.values, parts, known ?? new Map());
  const clusters = new Map<string, Cluster>();
  const sources = new Map<string, EndpointSource>();
  for (const [name, { endpoints, source }] of open) {
    const plan = plans.get(name);
    if (plan === undefined) throw new Error('invariant: an upstream without a plan');
    clusters.set(name, Object.freeze({ ...plan, endpoints }));
    if (source !== undefined) sources.set(name, source);
  }
  const traffic: Traffic = Object.freeze({
    clusters,
    routes,
    sources,
    lookedUp: async (timeoutMs: number) => {
      const pending = [...sources].map(([name, source]) => firstLookup(name, source, timeoutMs, parts));
      await Promise.all(pending);
    },
    closeUnless: (kept?: Traffic) => {
      const stays = new Set((kept === undefined ? undefined : opened.get(kept))?.values());
      for (const one of open.values()) if (!stays.has(one)) one.close();
    },
  });
  opened.set(traffic, open);
  return traffic;
}
