import {
  joinProblems,
  type MeshConfig,
  type Provenance,
  type ResolvedConfig,
  type RouteInput,
  renderDiagnostic,
  type SettingKey,
  settings,
  type Upstream,
} from '@inmesh/config';
import {
  type Cluster,
  type ClusterRules,
  MeshError,
  type Origin,
  type Route,
  type RouteRules,
} from '@inmesh/core';
import {
  type BalancerFactory,
  checkClusterRules,
  checkRouteRules,
  defaultClusterRules,
  defaultRouteRules,
  RouteTable,
} from '@inmesh/resilience';
import { mergeClusterRules, mergeRouteRules } from './merge-rules.js';

/** Balancers of the user's, by upstream; here only checked. */
type UserBalancers = Readonly<Record<string, BalancerFactory>> | undefined;

const inCode: Origin = Object.freeze({ source: 'code', line: 0, column: 0 });

/** Rules for calls where neither an upstream nor a route says otherwise. */
function routeRulesOf(config: MeshConfig): RouteRules {
  const { timeout, deadline, retries, retryOn, perTryTimeout } = config;
  return mergeRouteRules(defaultRouteRules, {
    headTimeoutMs: timeout,
    timeoutMs: deadline,
    retry: { maxAttempts: retries + 1, perTryTimeoutMs: perTryTimeout, ...retryOn },
  });
}

/** Rules for clusters where an upstream does not say otherwise. */
function clusterRulesOf(config: MeshConfig): ClusterRules {
  return mergeClusterRules(defaultClusterRules, {
    balancer: config.balancer,
    limits: {
      maxConnections: config.clusterMaxConnections,
      maxPending: config.clusterMaxPending,
      maxRequests: config.clusterMaxRequests,
    },
  });
}

function variableOf(key: SettingKey): string {
  return settings.find((one) => one.key === key)?.variable ?? key;
}

/** Takes what is wrong, all of it; what comes from a file is shown there. */
class Problems {
  readonly #found: string[] = [];
  readonly #config: MeshConfig;
  readonly #provenance: Provenance;
  readonly #origins: ResolvedConfig['origins'];
  readonly #texts: ResolvedConfig['texts'];

  constructor({ values, provenance, origins, texts }: ResolvedConfig) {
    this.#config = values;
    this.#provenance = provenance;
    this.#origins = origins;
    this.#texts = texts;
  }

  /** ` (INMESH_TIMEOUT)` where a bound is what that variable says; nothing where it is somebody else's. */
  from(key: 'deadline' | 'perTryTimeout' | 'timeout', ms: number): string {
    const source = this.#provenance.get(key);
    return this.#config[key] === ms && source === variableOf(key) ? ` (${source})` : '';
  }

  /** The name of a setting as who set it knows it, and its value. @param like - Lends its way of naming to a default. */
  setting(key: 'deadline' | 'perTryTimeout' | 'timeout', like: SettingKey = key): string {
    const isDefault = this.#provenance.get(key) === 'default';
    const isInCode = this.#provenance.get(isDefault ? like : key) === 'code';
    return `${isInCode ? key : variableOf(key)} is ${this.#config[key]} ms${isDefault ? ' by default' : ''}`;
  }

  /** Runs a check; what it throws is a problem. */
  try(where: string, check: () => void): void {
    try {
      check();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.add(message.startsWith(where) ? message : `${where}: ${message}`);
    }
  }

  add(problem: string): void {
    const [top = ''] =
      /^(?:upstreams\.[^:\s]+?(?=\.(?:rules|calls)\b)|routes\.[^:\s]+?\[\d+\])/.exec(problem) ?? [];
    const origin = this.#origins.get(top);
    const code = 'INMESH_ERR_CONFIG_INVALID';
    this.#found.push(
      origin === undefined
        ? problem
        : renderDiagnostic({ code, origin, message: problem }, this.#texts.get(origin.source)),
    );
  }

  throwIfAny(): void {
    if (this.#found.length === 0) return;
    throw new MeshError('INMESH_ERR_CONFIG_INVALID', joinProblems(this.#found), {
      details: { problems: this.#found },
    });
  }
}

/**
 * Refuses a bound on attempts that a shorter bound on the call makes void.
 *
 * @param base - What the rules differ from; what is wrong there already is said there.
 */
function checkTimes(rules: RouteRules, where: string, problems: Problems, base?: RouteRules): void {
  const { perTryTimeoutMs } = rules.retry;
  const attempt = `${perTryTimeoutMs}${problems.from('perTryTimeout', perTryTimeoutMs)}`;
  for (const [name, key] of [
    ['headTimeoutMs', 'timeout'],
    ['timeoutMs', 'deadline'],
  ] as const) {
    const isOfBase = base?.[name] === rules[name] && base.retry.perTryTimeoutMs === perTryTimeoutMs;
    if (isOfBase || rules[name] <= 0 || perTryTimeoutMs <= rules[name]) continue;
    problems.add(
      `${where}: retry.perTryTimeoutMs is ${attempt}, ${name} is ${rules[name]}${problems.from(key, rules[name])}; an attempt must not have longer than the call`,
    );
  }
}

function checkLocalityWeights({ localityWeights = {} }: ClusterRules, where: string): void {
  const weights = Object.entries(localityWeights);
  if (weights.length === 0 || weights.some(([, weight]) => weight !== 0)) return;
  const listed = weights.map(([locality, weight]) => `"${locality}" ${weight}`).join(', ');
  throw new Error(`${where}: the weights of localityWeights sum to 0: ${listed}; false turns them off`);
}

/** Settings in the words of settings. */
function checkSettings(config: MeshConfig, problems: Problems): void {
  for (const key of ['timeout', 'deadline'] as const)
    if (config[key] > 0 && config.perTryTimeout > config[key])
      problems.add(
        `${problems.setting('perTryTimeout')}, ${problems.setting(key, 'perTryTimeout')}; an attempt must not have longer than the call`,
      );
}

/** A cluster that has no endpoints yet. */
type Plan = Omit<Cluster, 'endpoints'>;

function planCluster(
  { name, identities, rules, calls }: Upstream,
  clusterRules: ClusterRules,
  routeRules: RouteRules,
  problems: Problems,
): Plan {
  const plan: Plan = {
    name,
    identities,
    rules: mergeClusterRules(clusterRules, rules),
    routeRules: mergeRouteRules(routeRules, calls),
  };
  const where = `upstreams.${name}.rules`;
  problems.try(where, () => {
    checkClusterRules(plan.rules, where);
    checkLocalityWeights(plan.rules, where);
  });
  problems.try(`upstreams.${name}.calls`, () => checkRouteRules(plan.routeRules, `upstreams.${name}.calls`));
  checkTimes(plan.routeRules, `upstreams.${name}.calls`, problems, routeRules);
  return plan;
}

function buildRoute(
  name: string,
  index: number,
  input: RouteInput,
  base: RouteRules,
  origins: ResolvedConfig['origins'],
): Route {
  const { matches = [], request, response } = input;
  const action = input.action ?? { kind: 'forward', backends: [{ cluster: name }] };
  return Object.freeze({
    name: input.name ?? `${name}[${index}]`,
    matches,
    action,
    rules: mergeRouteRules(base, input.rules),
    ...(request === undefined ? {} : { request }),
    ...(response === undefined ? {} : { response }),
    origin: origins.get(`routes.${name}[${index}]`) ?? inCode,
  });
}

/** Routes of code and files; one without rules of its own goes by those for calls to the upstream of the mesh name. */
function buildRoutes(
  { values: config, origins }: ResolvedConfig,
  plans: ReadonlyMap<string, Plan>,
  routeRules: RouteRules,
  problems: Problems,
): ReadonlyMap<string, readonly Route[]> {
  const clusters = new Set(plans.keys());
  const routes = new Map<string, readonly Route[]>();
  for (const [name, inputs] of config.routes) {
    const base = plans.get(name)?.routeRules ?? routeRules;
    const built = inputs.map((input, i) => buildRoute(name, i, input, base, origins));
    // One by one, so that each of them that is wrong is named.
    for (const [i, route] of built.entries()) {
      problems.try(`routes.${name}[${i}]`, () => void new RouteTable([route], clusters));
      checkTimes(route.rules, `routes.${name}[${i}].rules`, problems, base);
    }
    if (built.length > 0) routes.set(name, Object.freeze(built));
  }
  return routes;
}

function checkBalancers(
  balancers: UserBalancers,
  plans: ReadonlyMap<string, Plan>,
  problems: Problems,
): void {
  for (const [name, factory] of Object.entries(balancers ?? {})) {
    if (!plans.has(name)) problems.add(`balancers.${name}: there is no upstream "${name}"`);
    if (typeof factory !== 'function') problems.add(`balancers.${name} must be a function`);
  }
}

/** What clusters and routes a configuration has, before anything is opened for them. */
export interface TrafficPlan {
  /** Clusters that have no endpoints yet, by name. */
  readonly plans: ReadonlyMap<string, Plan>;
  /** Routes by mesh name. */
  readonly routes: ReadonlyMap<string, readonly Route[]>;
}

/**
 * Completes a configuration with defaults and checks it as a whole.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID` naming every problem at once
 */
export function planTraffic(resolved: ResolvedConfig, balancers: UserBalancers): TrafficPlan {
  const { values: config } = resolved;
  const problems = new Problems(resolved);
  const routeRules = routeRulesOf(config);
  const clusterRules = clusterRulesOf(config);
  const plans = new Map<string, Plan>();
  checkSettings(config, problems);
  for (const upstream of config.upstreams.values())
    plans.set(upstream.name, planCluster(upstream, clusterRules, routeRules, problems));
  const routes = buildRoutes(resolved, plans, routeRules, problems);
  checkBalancers(balancers, plans, problems);
  problems.throwIfAny();
  return { plans, routes };
}
