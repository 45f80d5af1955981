import {
  type ForwardAction,
  type HeaderEdits,
  type Headers,
  isMeshError,
  type LocalReply,
  MeshError,
  type PathMatch,
  type RedirectAction,
  type Route,
  type RouteAction,
  type RouteBackend,
  type RouteMatch,
} from '@inmesh/core';
import { type RoutePolicy, routePolicy } from './route-policy.js';
import { checkRouteRules } from './rules.js';
import { compileHeaderMatch, compileTextMatch, type HeaderSource } from './text-match.js';

/** What routes are matched against. */
export interface RoutedRequest extends HeaderSource {
  /** Method. */
  readonly method: string;
  /** Target with query, as the caller wrote it. */
  readonly target: string;
  /** Scheme the caller wrote. */
  readonly scheme: string;
  /** Authority the caller wrote. */
  readonly authority: string;
}

/** Where a call goes, and what changes on the way. */
export interface Forward {
  /** Tells the results apart. */
  readonly kind: 'forward';
  /** Cluster name. */
  readonly cluster: string;
  /** Rules. */
  readonly policy: RoutePolicy;
  /** Target to ask for; `undefined` leaves it. */
  readonly target: string | undefined;
  /** Authority to ask for; `undefined` leaves it. */
  readonly authority: string | undefined;
  /** Changes of request headers, in order. */
  readonly request: readonly HeaderEdits[];
  /** Changes of reply headers, in order. */
  readonly response: readonly HeaderEdits[];
}

/** A call that is answered here. */
export interface Answer {
  /** Tells the results apart. */
  readonly kind: 'answer';
  /** What. */
  readonly reply: LocalReply;
}

/** What became of a call. */
export type Routed = Answer | Forward;

/** A path and what a match found of it. */
interface Path {
  readonly path: string;
  readonly query: string;
}

type MatchTest = (request: RoutedRequest, path: Path) => boolean;

function invalid(route: Route, message: string, cause?: unknown): MeshError {
  return new MeshError('INMESH_ERR_CONFIG_INVALID', `route "${route.name}": ${message}`, {
    cause,
    details: { origin: route.origin },
  });
}

/** What is wrong inside a route must say which one. */
function within<T>(route: Route, compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    throw isMeshError(error) ? invalid(route, error.message, error) : error;
  }
}

function split(target: string): Path {
  const question = target.search(/[?#]/);
  return question === -1
    ? { path: target, query: '' }
    : { path: target.slice(0, question), query: target.slice(question) };
}

/** A path that brings a query of its own keeps it. */
function join(path: string, query: string): string {
  return path.includes('?') && query.startsWith('?') ? `${path}&${query.slice(1)}` : path + query;
}

function startsWithSegments(path: string, segments: string): boolean {
  const prefix = segments.endsWith('/') ? segments.slice(0, -1) : segments;
  return path.startsWith(prefix) && (path.length === prefix.length || path.charCodeAt(prefix.length) === 47);
}

function compilePath(match: PathMatch): (path: string) => boolean {
  const { segments } = match;
  const test = compileTextMatch(match);
  if (segments === undefined) return test ?? (() => true);
  if (test !== undefined)
    throw new MeshError(
      'INMESH_ERR_CONFIG_INVALID',
      'give one of exact, prefix, segments and regex, not several',
    );
  return (path) => startsWithSegments(path, segments);
}

function compileMatch(match: RouteMatch): MatchTest {
  const path = match.path === undefined ? undefined : compilePath(match.path);
  const methods = match.methods === undefined ? undefined : new Set(match.methods);
  const headers = (match.headers ?? []).map(compileHeaderMatch);
  const query = (match.query ?? []).map((one) => {
    const test = compileTextMatch(one);
    const mustBe = one.present ?? true;
    return (values: URLSearchParams): boolean => {
      const value = values.get(one.name);
      return test === undefined ? (value !== null) === mustBe : value !== null && test(value);
    };
  });
  return (request, { path: text, query: rest }) => {
    if (path !== undefined && !path(text)) return false;
    if (methods !== undefined && !methods.has(request.method)) return false;
    if (headers.length > 0 && !headers.every((test) => test(request))) return false;
    if (query.length === 0) return true;
    const values = new URLSearchParams(rest.startsWith('?') ? rest.slice(1) : '');
    return query.every((test) => test(values));
  };
}

/** Length of what a match found of the path, for replacing it. */
function matchedLength(match: RouteMatch | undefined): number {
  const { prefix, segments } = match?.path ?? {};
  if (segments !== undefined) return segments.endsWith('/') ? segments.length - 1 : segments.length;
  return prefix?.length ?? 0;
}

function replacePrefix(path: string, match: RouteMatch | undefined, prefix: string): string {
  const rest = path.slice(matchedLength(match));
  if (match?.path?.segments === undefined) return prefix + rest;
  // Whole segments: exactly one slash between what is new and what stays.
  const base = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
  return rest === '' && base === '' ? '/' : base + rest;
}

class CompiledRoute {
  readonly route: Route;
  readonly #policy: RoutePolicy;
  readonly #tests: readonly (readonly [RouteMatch, MatchTest])[];
  readonly #backends: readonly RouteBackend[];
  readonly #weight: number;

  constructor(route: Route, clusters: ReadonlySet<string> | undefined) {
    this.route = route;
    checkRouteRules(route.rules, `route "${route.name}"`);
    this.#policy = within(route, () => routePolicy(route.rules));
    this.#tests = within(route, () => route.matches.map((match) => [match, compileMatch(match)] as const));
    this.#backends = route.action.kind === 'forward' ? route.action.backends : [];
    this.#weight = this.#backends.reduce((sum, one) => sum + (one.weight ?? 1), 0);
    checkAction(route, this.#weight, clusters);
  }

  find(request: RoutedRequest, path: Path): { readonly match: RouteMatch | undefined } | undefined {
    if (this.#tests.length === 0) return { match: undefined };
    for (const [match, test] of this.#tests) if (test(request, path)) return { match };
    return undefined;
  }

  apply(request: RoutedRequest, path: Path, match: RouteMatch | undefined, random: () => number): Routed {
    const { action } = this.route;
    switch (action.kind) {
      case 'direct':
        return {
          kind: 'answer',
          reply: {
            httpStatus: action.status,
            ...(action.body === undefined
              ? {}
              : { headers: [['content-type', 'text/plain']], body: action.body }),
          },
        };
      case 'redirect':
        return { kind: 'answer', reply: redirect(action, request, path, match) };
      case 'forward':
        return this.#forward(action, path, match, random);
    }
  }

  #forward(action: ForwardAction, path: Path, match: RouteMatch | undefined, random: () => number): Forward {
    const backend = this.#choose(random);
    const { rewrite } = action;
    const { request, response } = this.route;
    const rewritten =
      rewrite?.path ??
      (rewrite?.prefix === undefined ? undefined : replacePrefix(path.path, match, rewrite.prefix));
    const edits = (...given: readonly (HeaderEdits | undefined)[]): readonly HeaderEdits[] =>
      given.filter((one) => one !== undefined);
    return {
      kind: 'forward',
      cluster: backend.cluster,
      policy: this.#policy,
      target: rewritten === undefined ? undefined : join(rewritten, path.query),
      authority: rewrite?.authority,
      request: edits(request, backend.request),
      response: edits(backend.response, response),
    };
  }

  /** Once per call: all attempts stay with it. */
  #choose(random: () => number): RouteBackend {
    const [first] = this.#backends;
    if (first === undefined) throw new Error('invariant: a route without backends');
    if (this.#backends.length === 1) return first;
    let goal = random() * this.#weight;
    for (const backend of this.#backends) {
      goal -= backend.weight ?? 1;
      if (goal < 0) return backend;
    }
    return this.#backends.findLast((one) => (one.weight ?? 1) > 0) ?? first;
  }
}

function redirect(
  action: RedirectAction,
  request: RoutedRequest,
  path: Path,
  match: RouteMatch | undefined,
): LocalReply {
  const authority = action.authority ?? request.authority;
  const to =
    action.path ?? (action.prefix === undefined ? path.path : replacePrefix(path.path, match, action.prefix));
  return {
    httpStatus: action.status ?? 301,
    headers: [['location', `${action.scheme ?? request.scheme}://${authority}${join(to, path.query)}`]],
  };
}

/** What an action puts in place of the prefix that a match found. */
function replacedPrefix(action: RouteAction): string | undefined {
  switch (action.kind) {
    case 'direct':
      return undefined;
    case 'redirect':
      return action.prefix;
    case 'forward':
      return action.rewrite?.prefix;
  }
}

function checkAction(route: Route, weight: number, clusters: ReadonlySet<string> | undefined): void {
  const { action, matches } = route;
  const findsPrefix =
    matches.length > 0 &&
    matches.every(({ path }) => path?.prefix !== undefined || path?.segments !== undefined);
  if (replacedPrefix(action) !== undefined && !findsPrefix)
    throw invalid(route, 'only a path that is matched by prefix or segments can have its prefix replaced');
  switch (action.kind) {
    case 'direct':
      if (!Number.isInteger(action.status) || action.status < 200 || action.status > 599)
        throw invalid(route, `status ${action.status} is not from 200 to 599`);
      return;
    case 'redirect':
      return;
    case 'forward':
      checkForward(route, action, weight, clusters);
  }
}

function checkForward(
  route: Route,
  action: ForwardAction,
  weight: number,
  clusters: ReadonlySet<string> | undefined,
): void {
  if (action.rewrite?.path !== undefined && action.rewrite.prefix !== undefined)
    throw invalid(route, 'rewrite either the path or its prefix, not both');
  if (action.backends.length === 0) throw invalid(route, 'it has no backend');
  for (const { cluster, weight: share = 1 } of action.backends) {
    if (!Number.isFinite(share) || share < 0)
      throw invalid(route, `the weight ${share} of ${cluster} is not 0 or more`);
    if (clusters !== undefined && !clusters.has(cluster))
      throw invalid(route, `its backend "${cluster}" is not configured`);
  }
  if (weight <= 0) throw invalid(route, 'the weights of its backends sum to 0');
}

/** The routes of one mesh name: the first that matches counts. */
export class RouteTable {
  readonly #routes: readonly CompiledRoute[];

  /**
   * @param clusters - Names that may be backends; any if left out.
   * @throws MeshError `INMESH_ERR_CONFIG_INVALID` naming the route and what is wrong with it.
   */
  constructor(routes: readonly Route[], clusters?: ReadonlySet<string>) {
    this.#routes = routes.map((route) => new CompiledRoute(route, clusters));
  }

  /** Routes a call; `undefined` if nothing matches. */
  route(request: RoutedRequest, random: () => number): Routed | undefined {
    const path = split(request.target);
    for (const route of this.#routes) {
      const found = route.find(request, path);
      if (found !== undefined) return route.apply(request, path, found.match, random);
    }
    return undefined;
  }
}

/** Applies changes of headers, in the order set, add, remove. */
export function editHeaders(headers: Headers, edits: readonly HeaderEdits[]): void {
  for (const { set, add, remove } of edits) {
    for (const [name, value] of Object.entries(set ?? {})) headers.set(name, value);
    for (const [name, value] of Object.entries(add ?? {})) headers.append(name, value);
    for (const name of remove ?? []) headers.delete(name);
  }
}
