import type { Origin, RouteAction, RouteBackend, RouteMatch } from '@inmesh/core';
import { didYouMean } from '../nearest.js';
import { type RouteInput, routesInput } from '../route-input.js';
import { type FileRule, subsetName } from './destination-rules.js';
import type { Report } from './diagnostic.js';
import { type Cursor, type Manifest, specOf } from './read.js';
import { isForUs, matchOf } from './route-match.js';
import { headersOf, rulesOf } from './route-rules.js';
import { hostMistake, isExported, nameOfHost, type ReaderScope } from './scope.js';

/** What routes may lead to. */
export interface Destinations {
  /** Ports that callers name, by name of the mesh; `undefined` where it is not known. */
  readonly ports: ReadonlyMap<string, readonly number[] | undefined>;
  /** Rules, and with them subsets. */
  readonly rules: ReadonlyMap<string, FileRule>;
}

/** A route, and where it stands. */
export interface FileRoute {
  /** The route. */
  readonly input: RouteInput;
  /** Where it stands. */
  readonly origin: Origin;
}

/** Reads one `VirtualService`. */
class RouteReader {
  readonly #namespace: string;
  readonly #own: ReaderScope;
  readonly #destinations: Destinations;

  constructor(namespace: string, own: ReaderScope, destinations: Destinations) {
    this.#namespace = namespace;
    this.#own = own;
    this.#destinations = destinations;
  }

  /** One route per alternative: what a prefix becomes depends on the one that matched. */
  read(http: Cursor, gateways: Cursor): readonly FileRoute[] {
    const alternatives = http.at('match').items;
    const all =
      alternatives.length === 0
        ? [{ at: http, match: {} }]
        : alternatives.map((at) => ({ at, match: matchOf(at) }));
    const ours = all.filter(({ at }) => isForUs(at, gateways, this.#own));
    const found = ours.map(({ at, match }) => this.#route(http, at, match));
    // What is not for us is checked all the same.
    if (found.length === 0) this.#route(http, http, {});
    return found;
  }

  #route(http: Cursor, at: Cursor, match: RouteMatch): FileRoute {
    const name = [http.at('name').text, at === http ? undefined : at.at('name').text]
      .filter(Boolean)
      .join('.');
    const rules = rulesOf(http);
    const action = this.#action(http, match);
    const isPlain = Object.keys(match).length === 0;
    const input: RouteInput = {
      ...(name === '' ? {} : { name }),
      ...(isPlain ? {} : { matches: [match] }),
      ...(action === undefined ? {} : { action }),
      ...(rules === undefined ? {} : { rules }),
      ...headersOf(http.at('headers')),
    };
    const problems: string[] = [];
    // A rewritten prefix of everything needs one to replace.
    const isPrefixed = action?.kind === 'forward' && action.rewrite?.prefix !== undefined && !match.path;
    const full = isPrefixed ? { ...input, matches: [{ ...match, path: { prefix: '/' } }] } : input;
    routesInput([full], 'route', problems);
    for (const problem of problems) at.wrong(problem.replace(/^route\[0\]\.?/, ''));
    return { input: full, origin: at.origin };
  }

  #action(http: Cursor, match: RouteMatch): RouteAction | undefined {
    const kinds = ['route', 'redirect', 'directResponse'].filter((kind) => http.at(kind).isThere);
    const [kind, other] = kinds;
    if (other !== undefined) return http.at(other).wrong(`a route has "${kind}" or "${other}", not both`);
    if (kind === undefined) return http.wrong('a route has one of route, redirect, directResponse');
    if (kind === 'redirect') return redirectOf(http.at('redirect'));
    if (kind === 'directResponse') return directOf(http.at('directResponse'));
    return this.#forward(http, match);
  }

  #forward(http: Cursor, match: RouteMatch): RouteAction | undefined {
    const { items } = http.at('route');
    if (items.length === 0) return http.at('route').wrong('a route names its destinations');
    const backends = items.flatMap((at) => this.#backend(at, items.length === 1));
    if (backends.length > 0 && backends.every(({ weight }) => weight === 0))
      http.at('route').wrong('the weights sum to 0: no call goes anywhere');
    const rewrite = http.at('rewrite');
    const uri = rewrite.at('uri').text;
    const authority = rewrite.at('authority').text;
    // Envoy replaces what the match found: the prefix, or the whole path.
    const path =
      uri === undefined ? {} : (match.path?.exact ?? match.path?.regex) ? { path: uri } : { prefix: uri };
    const parts = { ...path, ...(authority === undefined ? {} : { authority }) };
    return { kind: 'forward', backends, ...(rewrite.isThere ? { rewrite: parts } : {}) };
  }

  #backend(at: Cursor, isOnly: boolean): readonly RouteBackend[] {
    const destination = at.at('destination');
    const host = destination.at('host');
    if (host.text === undefined) {
      destination.wrong('a destination has a "host"');
      return [];
    }
    const weight = at.at('weight');
    if (weight.number !== undefined && weight.number < 0) weight.wrong('a weight is 0 or more');
    const cluster = this.#cluster(destination, host, host.text);
    // Istio: a weight that is not given is 0, unless there is only one destination.
    const share = isOnly ? 1 : (weight.number ?? 0);
    return cluster === undefined ? [] : [{ cluster, weight: share, ...headersOf(at.at('headers')) }];
  }

  #cluster(destination: Cursor, host: Cursor, text: string): string | undefined {
    const { ports, rules } = this.#destinations;
    const name = nameOfHost(text, this.#namespace, this.#own);
    if (!ports.has(name))
      return host.wrong(
        `there is no upstream and no ServiceEntry "${name}"${didYouMean(name, ports.keys())}`,
      );
    const port = destination.at('port').at('number');
    const known = ports.get(name);
    if (port.number !== undefined && known !== undefined && !known.includes(port.number))
      return port.wrong(
        `${name} is reached at port ${known.join(', ')}, not ${port.number}; leave the port out`,
      );
    if (port.number !== undefined && known === undefined)
      return port.wrong(`the ports of ${name} are looked up, and none is known here; leave the port out`);
    const subset = destination.at('subset');
    if (subset.text === undefined || subset.text === '') return name;
    const subsets = rules.get(name)?.subsets;
    if (subsets?.has(subset.text) === true) return subsetName(name, subset.text);
    const hint = didYouMean(subset.text, subsets?.keys() ?? []);
    return subset.wrong(`no DestinationRule of ${name} has a subset "${subset.text}"${hint}`);
  }
}

function redirectOf(at: Cursor): RouteAction {
  const path = at.at('uri').text;
  const prefix = at.at('prefixRewrite').text;
  const scheme = at.at('scheme').text;
  const authority = at.at('authority').text;
  const status = at.at('redirectCode').number ?? 301;
  // Words and forms are checked with the route as a whole.
  return {
    kind: 'redirect',
    status: status as 301,
    ...(path === undefined ? {} : { path }),
    ...(prefix === undefined ? {} : { prefix }),
    ...(scheme === undefined ? {} : { scheme: scheme as 'http' }),
    ...(authority === undefined ? {} : { authority }),
  };
}

function directOf(at: Cursor): RouteAction | undefined {
  const status = at.at('status');
  if (status.number === undefined) return at.wrong('a directResponse has a "status"');
  if (status.number < 200 || status.number > 599)
    return status.wrong(`${status.number} is no status from 200 to 599`);
  const body = at.at('body').at('string').text;
  return { kind: 'direct', status: status.number, ...(body === undefined ? {} : { body }) };
}

/** Routes that hold for our calls, by name of the mesh. */
export function readRouteFiles(
  manifests: readonly Manifest[],
  destinations: Destinations,
  own: ReaderScope,
  report: Report,
): ReadonlyMap<string, readonly FileRoute[]> {
  const found = new Map<string, readonly FileRoute[]>();
  const places = new Map<string, Origin>();
  for (const manifest of manifests) {
    const spec = specOf(manifest, report);
    const namespace = manifest.namespace ?? own.namespace;
    const reader = new RouteReader(namespace, own, destinations);
    if (spec.at('hosts').items.length === 0) spec.at('hosts').wrong('a VirtualService names its hosts');
    if (spec.at('http').items.length === 0) spec.at('http').wrong('a VirtualService has routes: http');
    const routes = spec.at('http').items.flatMap((http) => reader.read(http, spec.at('gateways')));
    if (routes.length === 0 || !isExported(spec.at('exportTo').value, namespace, own)) continue;
    for (const host of spec.at('hosts').items) {
      const mistake = hostMistake(host.text ?? '');
      const name = nameOfHost(host.text ?? '', namespace, own);
      const before = places.get(name);
      if (mistake !== undefined) host.wrong(mistake);
      else if (before !== undefined)
        host.wrong(
          `${before.source}:${before.line} has routes for ${name} already; put them into one VirtualService`,
        );
      else {
        places.set(name, host.origin);
        found.set(name, routes);
      }
    }
  }
  return found;
}
