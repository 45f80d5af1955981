import type { ClusterRules, Endpoint, RouteRules, SpiffeId, Watch } from '@inmesh/core';
import {
  checkEndpoints,
  type EndpointSpec,
  parseEndpoints,
  printSpec,
  readEndpoints,
} from './endpoint-spec.js';
import { messageOf, show } from './problems.js';
import { clusterRulesInput, type RulesInput, routeRulesInput } from './rules-input.js';
import { type Check, isObject, objectOf, text } from './shape.js';

/** An upstream given in code, with more than endpoints. */
export interface UpstreamInput {
  /** `host:port,dnssrv+…,…`, or objects, or a source of your own, which stays yours to close. @defaultValue `INMESH_UPSTREAM_<NAME>` */
  readonly endpoints?: string | readonly Endpoint[] | Watch<readonly Endpoint[]> | undefined;
  /** `spiffe://…,…`, `account` or `namespace/account`. @defaultValue `INMESH_UPSTREAM_<NAME>_IDENTITY`, or the account of the name */
  readonly identity?: string | undefined;
  /** What holds for the upstream, where it differs from the settings. @defaultValue nothing */
  readonly rules?: RulesInput<ClusterRules> | undefined;
  /** What holds for calls to it, where it differs from the settings. @defaultValue nothing */
  readonly calls?: RulesInput<RouteRules> | undefined;
}

/** An upstream given in code: endpoints alone, or more. */
export type UpstreamOptions = string | UpstreamInput;

/** Where the endpoints of an upstream come from: what is to be resolved, or a source of the user's. */
export type UpstreamEndpoints =
  | {
      /** Tells the kinds apart. */
      readonly kind: 'specs';
      /** At least one. */
      readonly specs: readonly EndpointSpec[];
    }
  | {
      /** Tells the kinds apart. */
      readonly kind: 'watch';
      /** Not ours to close. */
      readonly watch: Watch<readonly Endpoint[]>;
    };

/** A configured upstream, before rules are completed with defaults. */
export interface Upstream {
  /** Canonical name: `orders`, or `orders.billing` for another namespace. */
  readonly name: string;
  /** Identities its endpoints may have; at least one. */
  readonly identities: readonly SpiffeId[];
  /** Where its endpoints come from. */
  readonly endpoints: UpstreamEndpoints;
  /** What of its rules differs from the settings. */
  readonly rules: RulesInput<ClusterRules>;
  /** What of the rules for calls to it differs from the settings. */
  readonly calls: RulesInput<RouteRules>;
}

function isWatch(value: unknown): value is Watch<readonly Endpoint[]> {
  return isObject(value) && typeof value['subscribe'] === 'function' && 'state' in value;
}

/** A source of the user's; what it has already is checked, and what comes later is checked then. */
function readWatch(watch: Watch<readonly Endpoint[]>, where: string, problems: string[]): UpstreamEndpoints {
  const { state } = watch;
  if (isObject(state) && state.kind === 'ready') checkEndpoints(state.value, where, problems);
  return Object.freeze({ kind: 'watch', watch });
}

/** Reads endpoints in whichever form; none if there are `problems`. */
export function readUpstreamEndpoints(
  given: unknown,
  where: string,
  problems: string[],
): UpstreamEndpoints | undefined {
  const before = problems.length;
  if (isWatch(given)) {
    const endpoints = readWatch(given, where, problems);
    return problems.length > before ? undefined : endpoints;
  }
  if (Array.isArray(given)) {
    const specs = readEndpoints(given, where, problems);
    return problems.length > before ? undefined : Object.freeze({ kind: 'specs', specs });
  }
  if (typeof given !== 'string') {
    problems.push(`${where} is ${show(given)}; it must be text, an array of endpoints, or a Watch of one`);
    return undefined;
  }
  try {
    return Object.freeze({ kind: 'specs', specs: parseEndpoints(given) });
  } catch (error) {
    problems.push(`${where}: ${messageOf(error)}`);
    return undefined;
  }
}

const anything: Check = () => {};

/** Names and types of an upstream given in code; its endpoints are read by {@link readUpstreamEndpoints}. */
export const upstreamInput: Check = objectOf<UpstreamInput>({
  endpoints: anything,
  identity: text('text', /^/),
  rules: clusterRulesInput,
  calls: routeRulesInput,
});

/** Where the endpoints of an upstream come from, for people. */
export function printEndpoints({ endpoints }: Upstream): string {
  return endpoints.kind === 'watch' ? 'a source in code' : endpoints.specs.map(printSpec).join(',');
}
