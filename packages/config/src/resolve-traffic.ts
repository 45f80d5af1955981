import type { Origin } from '@inmesh/core';
import type { FileScope, FileTraffic } from './config-file.js';
import type { ConfigSources } from './config-sources.js';
import type { MeshConfig } from './mesh-config.js';
import { placeOf } from './problems.js';
import { resolveRoutes } from './routes.js';
import { resolveUpstreams } from './upstreams.js';

/** Where what is found goes. */
export interface TrafficSink {
  /** Takes what is wrong. */
  readonly problems: string[];
  /** Takes where it came from. */
  readonly provenance: Map<string, string>;
  /** Takes where in files it stands. */
  readonly origins: Map<string, Origin>;
}

/** Notes where rules and subsets of a file stand. */
function noteRules({ origins: places }: FileTraffic, { provenance, origins }: TrafficSink): void {
  for (const [name, origin] of places) {
    const key = `upstreams.${name}`;
    const before = provenance.get(key);
    const place = placeOf(origin);
    provenance.set(key, before === undefined || before === place ? place : `${before} and ${place}`);
    origins.set(key, origin);
  }
}

/** Routes of code and file; for a name that code has routes for, those alone count. */
function joinRoutes(
  traffic: FileTraffic,
  ofCode: MeshConfig['routes'],
  { provenance, origins }: TrafficSink,
): MeshConfig['routes'] {
  const routes = new Map(ofCode);
  for (const [name, { inputs, origins: places }] of traffic.routes) {
    if (ofCode.has(name)) continue;
    routes.set(name, inputs);
    for (const [i, origin] of places.entries()) origins.set(`routes.${name}[${i}]`, origin);
    const [first] = places;
    if (first !== undefined) provenance.set(`routes.${name}`, placeOf(first));
  }
  return routes;
}

/** Upstreams and routes of every source. */
export function resolveTraffic(
  { env, code, file }: ConfigSources,
  own: FileScope,
  sink: TrafficSink,
): Pick<MeshConfig, 'routes' | 'upstreams'> {
  const { problems, provenance, origins } = sink;
  const ofFile = file?.upstreams(own);
  const upstreams = resolveUpstreams({
    env,
    code: code?.upstreams,
    file: ofFile,
    own,
    problems,
    provenance,
  });
  for (const [name, { origin }] of ofFile ?? []) origins.set(`upstreams.${name}`, origin);
  const traffic = file?.traffic(own, upstreams);
  if (traffic !== undefined) noteRules(traffic, sink);
  const routes = resolveRoutes({ code: code?.routes, own, problems, provenance });
  return {
    upstreams: traffic?.upstreams ?? upstreams,
    routes: traffic === undefined ? routes : joinRoutes(traffic, routes, sink),
  };
}
