import { checkClusterName, defaultIdentities, type OwnScope, parseIdentities } from './cluster-names.js';
import { isServiceVariable } from './kubernetes.js';
import { messageOf, show } from './problems.js';
import { isObject } from './shape.js';
import { readUpstreamEndpoints, type Upstream, type UpstreamInput, upstreamInput } from './upstream.js';

/** Where upstreams are read from, and where to say what was found. */
export interface UpstreamSources {
  /** The environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What code gave, not yet checked. */
  readonly code: unknown;
  /** What names are completed with. */
  readonly own: OwnScope;
  /** Takes what is wrong. */
  readonly problems: string[];
  /** Takes where each came from. */
  readonly provenance: Map<string, string>;
}

/** What the environment says of an upstream. */
interface Variables {
  /** Holds endpoints. */
  endpoints?: string;
  /** Holds identities. */
  identity?: string;
}

const prefix = 'INMESH_UPSTREAM_';
const suffix = '_IDENTITY';

/** The name that a variable stands for. */
function nameOf(variable: string): string {
  return variable.slice(prefix.length).toLowerCase().replaceAll('__', '.').replaceAll('_', '-');
}

function checkIdentityVariable(variable: string, value: string, problems: string[]): boolean {
  if (value.includes('://') || !/:\d{1,5}(?:,|$)/.test(value)) return true;
  const base = variable.slice(0, -suffix.length);
  problems.push(
    `${variable} holds endpoints, but a variable that ends in _IDENTITY names the identity of ${base}; a service whose own name ends in "-identity" is written in code: upstreams: { "${nameOf(variable)}": "${value}" }`,
  );
  return false;
}

function readVariables({ env, problems }: UpstreamSources): ReadonlyMap<string, Variables> {
  const found = new Map<string, Variables>();
  for (const [variable, value = ''] of Object.entries(env)) {
    if (value === '' || !/^INMESH_UPSTREAM_[A-Z0-9]/.test(variable) || isServiceVariable(variable, value))
      continue;
    const key = variable.endsWith(suffix) ? 'identity' : 'endpoints';
    if (key === 'identity' && !checkIdentityVariable(variable, value, problems)) continue;
    const name = nameOf(key === 'identity' ? variable.slice(0, -suffix.length) : variable);
    const variables = found.get(name) ?? {};
    if (variables[key] !== undefined) problems.push(`${variables[key]} and ${variable} both say ${name}`);
    variables[key] = variable;
    found.set(name, variables);
  }
  return found;
}

/** What code says of each upstream; `undefined` where that is wrong. */
function readCode({ code, problems }: UpstreamSources): ReadonlyMap<string, UpstreamInput | undefined> {
  const found = new Map<string, UpstreamInput | undefined>();
  if (code === undefined) return found;
  if (!isObject(code)) {
    problems.push(`option upstreams is ${show(code)}; it must be an object`);
    return found;
  }
  for (const [name, given] of Object.entries(code)) {
    if (given === undefined) continue;
    const before = problems.length;
    const input = typeof given === 'string' ? { endpoints: given } : given;
    upstreamInput(input, `upstreams.${name}`, problems);
    found.set(name, problems.length > before ? undefined : (input as UpstreamInput));
  }
  return found;
}

/** Runs a parser; what it throws becomes a problem. */
function attempt<T>(where: string, problems: string[], parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    problems.push(`${where}: ${messageOf(error)}`);
    return undefined;
  }
}

/** A value, and the name of the field or variable that gave it. */
interface Given {
  readonly from: string;
  readonly value: unknown;
}

/** What was said of endpoints; code wins. */
function givenEndpoints(
  name: string,
  input: UpstreamInput,
  variables: Variables,
  { env, problems }: UpstreamSources,
): Given | undefined {
  if (input.endpoints !== undefined) return { from: `upstreams.${name}.endpoints`, value: input.endpoints };
  const { endpoints, identity } = variables;
  if (endpoints !== undefined) return { from: endpoints, value: env[endpoints] };
  problems.push(
    identity === undefined
      ? `upstreams.${name} has no endpoints, and there is no variable for them`
      : `${identity} names an identity, but ${identity.slice(0, -suffix.length)} is not set`,
  );
  return undefined;
}

function readIdentities(
  name: string,
  input: UpstreamInput,
  { identity }: Variables,
  { env, own, problems }: UpstreamSources,
): Upstream['identities'] | undefined {
  const text = input.identity ?? (identity === undefined ? undefined : env[identity]);
  const from =
    input.identity === undefined ? (identity ?? `upstreams.${name}`) : `upstreams.${name}.identity`;
  return attempt(from, problems, () =>
    text === undefined ? defaultIdentities(name, own) : parseIdentities(text, own),
  );
}

function readUpstream(
  name: string,
  input: UpstreamInput,
  variables: Variables,
  sources: UpstreamSources,
): Upstream | undefined {
  const { problems } = sources;
  const where = input.endpoints === undefined ? variables.endpoints : undefined;
  if (attempt(where ?? `upstreams.${name}`, problems, () => checkClusterName(name)) === undefined)
    return undefined;
  const given = givenEndpoints(name, input, variables, sources);
  if (given === undefined) return undefined;
  const endpoints = readUpstreamEndpoints(given.value, given.from, problems);
  const identities = readIdentities(name, input, variables, sources);
  if (endpoints === undefined || identities === undefined) return undefined;
  const { rules = {}, calls = {} } = input;
  return Object.freeze({ name, identities, endpoints, rules, calls });
}

/** Upstreams of code and environment; field by field, code wins. */
export function resolveUpstreams(sources: UpstreamSources): ReadonlyMap<string, Upstream> {
  const inCode = readCode(sources);
  const inEnv = readVariables(sources);
  const upstreams = new Map<string, Upstream>();
  for (const name of new Set([...inEnv.keys(), ...inCode.keys()])) {
    const input = inCode.get(name);
    if (input === undefined && inCode.has(name)) continue;
    const variables = inEnv.get(name) ?? {};
    const upstream = readUpstream(name, input ?? {}, variables, sources);
    if (upstream === undefined) continue;
    upstreams.set(name, upstream);
    const { endpoints } = variables;
    sources.provenance.set(
      `upstreams.${name}`,
      endpoints === undefined || input?.endpoints !== undefined
        ? 'code'
        : input === undefined
          ? endpoints
          : `${endpoints} and code`,
    );
  }
  return upstreams;
}
