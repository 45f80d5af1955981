import {
  canonicalName,
  checkClusterName,
  defaultIdentities,
  type OwnScope,
  parseIdentities,
} from './cluster-names.js';
import type { FileUpstream } from './config-file.js';
import { isServiceVariable } from './kubernetes.js';
import { nearest } from './nearest.js';
import { overlayInput } from './overlay-input.js';
import { messageOf, show } from './problems.js';
import { isPlainObject, noObject } from './shape.js';
import { readUpstreamEndpoints, type Upstream, type UpstreamInput, upstreamInput } from './upstream.js';

/** Where upstreams are read from, and where to say what was found. */
export interface UpstreamSources {
  /** The environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What code gave, not yet checked. */
  readonly code: unknown;
  /** What the configuration file gave, checked. @defaultValue nothing */
  readonly file?: ReadonlyMap<string, FileUpstream> | undefined;
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

/** How a service is written whose own name ends in "-identity". */
function writtenInCode(name: string, endpoints: string): string {
  return `a service whose own name ends in "-identity" is written in code: upstreams: { "${name}": "${endpoints}" }`;
}

function checkIdentityVariable(variable: string, value: string, problems: string[]): boolean {
  const base = variable.slice(0, -suffix.length);
  if (value.includes('://') || !/:\d{1,5}(?:,|$)/.test(value)) {
    if (!base.endsWith('_')) return true;
    problems.push(
      `${variable} has more than one "_" before IDENTITY; did you mean ${base.replace(/_+$/, '')}${suffix}?`,
    );
    return false;
  }
  // With the suffix twice, a service is meant whose name has it once.
  const name = nameOf(base.endsWith(suffix) ? base : variable);
  problems.push(
    `${variable} holds endpoints, but a variable that ends in _IDENTITY names the identity of ${base}; ${writtenInCode(name, value)}`,
  );
  return false;
}

/** A variable in another case or with other characters is no other upstream: it is a mistake. */
function checkForm(variable: string, problems: string[]): boolean {
  if (/^[A-Z0-9_]+$/.test(variable)) return true;
  const written =
    prefix +
    variable
      .slice(prefix.length)
      .toUpperCase()
      .replaceAll('.', '__')
      .replaceAll(/[^A-Z0-9_]/g, '_');
  problems.push(`${variable} must be written ${written}`);
  return false;
}

/** Whether a variable's last word is meant to be the suffix: it is near to it, or it holds an identity. */
function checkSuffix(variable: string, value: string, problems: string[]): boolean {
  const [, base, word = ''] = /^(.+?)_+([^_]+)_*$/.exec(variable.slice(prefix.length)) ?? [];
  const isNear = base !== undefined && nearest(word, [suffix.slice(1)]) !== undefined;
  const isId = /(?:^|,)\s*spiffe:\/\//.test(value);
  // A service may well be named "billing-entity": what has a port is taken at its word.
  if (!isId && (!isNear || value.includes(':') || value.startsWith('dnssrv+'))) return true;
  const meant = isNear
    ? `did you mean ${prefix}${base}${suffix}?`
    : `${prefix}<NAME>${suffix} names the identity of <NAME>`;
  problems.push(
    `${variable} is for endpoints, and ${show(value)} ${isId ? 'is an identity' : 'has no port'}; ${meant}`,
  );
  return false;
}

function checkVariable(variable: string, value: string, problems: string[]): boolean {
  if (!checkForm(variable, problems)) return false;
  if (value.trim() === '') {
    // Without its upstream a name would pass through the mesh, in plaintext.
    problems.push(`${variable} is empty; give it a value or unset it`);
    return false;
  }
  if (/^INMESH_UPSTREAM_+IDENTITY$/.test(variable)) {
    problems.push(
      `${variable} names no upstream; it is written ${prefix}<NAME>${suffix}, and a service named "identity" stands in code: upstreams: { "identity": "host:port" }`,
    );
    return false;
  }
  const check = variable.endsWith(suffix) ? checkIdentityVariable : checkSuffix;
  return check(variable, value, problems);
}

function readVariables({ env, own, problems }: UpstreamSources): ReadonlyMap<string, Variables> {
  const found = new Map<string, Variables>();
  for (const [variable, value] of Object.entries(env)) {
    if (value === undefined || !variable.startsWith(prefix) || variable === prefix) continue;
    if (isServiceVariable(variable, value) || !checkVariable(variable, value, problems)) continue;
    const key = variable.endsWith(suffix) ? 'identity' : 'endpoints';
    const name = canonicalName(
      nameOf(key === 'identity' ? variable.slice(0, -suffix.length) : variable),
      own,
    );
    const variables = found.get(name) ?? {};
    if (variables[key] !== undefined) problems.push(`${variables[key]} and ${variable} both say ${name}`);
    variables[key] = variable;
    found.set(name, variables);
  }
  return found;
}

/** What code says of an upstream. */
interface InCode {
  /** Where it stands. */
  readonly where: string;
  /** `undefined` where it is wrong. */
  readonly input: UpstreamInput | undefined;
}

/** What code says of each upstream. */
function readCode({ code, own, problems }: UpstreamSources): ReadonlyMap<string, InCode> {
  const found = new Map<string, InCode>();
  if (code === undefined) return found;
  if (!isPlainObject(code)) {
    problems.push(noObject(code, 'option upstreams'));
    return found;
  }
  for (const [key, given] of Object.entries(code)) {
    if (given === undefined) continue;
    const where = `upstreams.${key}`;
    const name = canonicalName(key, own);
    const other = found.get(name);
    if (other !== undefined) problems.push(`${other.where} and ${where} both say ${name}`);
    const before = problems.length;
    const input = typeof given === 'string' ? { endpoints: given } : given;
    upstreamInput(input, where, problems);
    found.set(name, { where, input: problems.length > before ? undefined : (input as UpstreamInput) });
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

/** Everything that was said of one upstream. */
interface Said {
  readonly name: string;
  /** Where code says it, or would. */
  readonly where: string;
  readonly input: UpstreamInput;
  readonly variables: Variables;
  readonly file: FileUpstream | undefined;
}

function noEndpoints({ name, where, variables: { identity } }: Said): string {
  if (identity === undefined) return `${where} has no endpoints, and there is no variable for them`;
  const base = identity.slice(0, -suffix.length);
  return base.endsWith(suffix)
    ? `${identity} names an identity, but there is no upstream "${name}"; ${writtenInCode(name, 'host:port')}`
    : `${identity} names an identity, but ${base} is not set`;
}

/** What was said of endpoints; code wins. */
function givenEndpoints(said: Said, { env, problems }: UpstreamSources): Given | undefined {
  const { where, input, variables, file } = said;
  if (input.endpoints !== undefined) return { from: `${where}.endpoints`, value: input.endpoints };
  const { endpoints } = variables;
  if (endpoints !== undefined) return { from: endpoints, value: env[endpoints] };
  if (file?.input.endpoints !== undefined) return { from: placeOf(file), value: file.input.endpoints };
  problems.push(noEndpoints(said));
  return undefined;
}

function placeOf({ origin: { source, line, column } }: FileUpstream): string {
  return `${source}:${line}:${column}`;
}

/** Identities that the file names; code and environment may narrow them, not widen. */
function identitiesInFile(
  { file }: Said,
  { own, problems }: UpstreamSources,
): Upstream['identities'] | undefined {
  const text = file?.input.identity;
  if (file === undefined || text === undefined) return file?.identities;
  return attempt(placeOf(file), problems, () => parseIdentities(text, own));
}

function readIdentities(said: Said, sources: UpstreamSources): Upstream['identities'] | undefined {
  const { name, where, input, variables } = said;
  const { env, own, problems } = sources;
  const { identity } = variables;
  const text = input.identity ?? (identity === undefined ? undefined : env[identity]);
  const inFile = identitiesInFile(said, sources);
  const from = input.identity === undefined ? (identity ?? where) : `${where}.identity`;
  if (text === undefined) return inFile ?? attempt(from, problems, () => defaultIdentities(name, own));
  const read = attempt(from, problems, () => parseIdentities(text, own));
  if (read === undefined || inFile === undefined) return read;
  const uris = new Set(inFile.map(({ uri }) => uri));
  const kept = Object.freeze(read.filter(({ uri }) => uris.has(uri)));
  if (kept.length > 0) return kept;
  problems.push(
    `${from}: the configuration file expects other identities of ${name}: ${[...uris].join(', ')}`,
  );
  return undefined;
}

/** Those of a `ServiceEntry`, unless code or environment name others. */
function endpointsOf(said: Said, sources: UpstreamSources): Upstream['endpoints'] | undefined {
  const { input, variables, file } = said;
  const isElsewhere = input.endpoints !== undefined || variables.endpoints !== undefined;
  if (!isElsewhere && file?.endpoints !== undefined) return file.endpoints;
  const given = givenEndpoints(said, sources);
  return given && readUpstreamEndpoints(given.value, given.from, sources.problems);
}

function readUpstream(said: Said, sources: UpstreamSources): Upstream | undefined {
  const { problems } = sources;
  const { name, where, input, variables, file } = said;
  const from = input.endpoints === undefined ? (variables.endpoints ?? where) : where;
  // Hosts of a ServiceEntry have been checked, and may be any DNS names.
  if (file?.endpoints === undefined && attempt(from, problems, () => checkClusterName(name)) === undefined)
    return undefined;
  const endpoints = endpointsOf(said, sources);
  if (endpoints === undefined) return undefined;
  const identities = readIdentities(said, sources);
  if (identities === undefined) return undefined;
  const rules = overlayInput(file?.input.rules ?? {}, input.rules ?? {});
  const calls = overlayInput(file?.input.calls ?? {}, input.calls ?? {});
  return Object.freeze({ name, identities, endpoints, rules, calls });
}

/** Who said something of it. */
function sourcesOf({ input, variables: { endpoints, identity }, file }: Said, isInCode: boolean): string {
  const variable =
    input.endpoints === undefined ? (endpoints ?? (file === undefined ? undefined : identity)) : undefined;
  const parts = [variable, isInCode ? 'code' : undefined, file === undefined ? undefined : placeOf(file)];
  return parts.filter((one) => one !== undefined).join(' and ');
}

/** Upstreams of code, environment and file; field by field, code wins, then the environment. */
export function resolveUpstreams(sources: UpstreamSources): ReadonlyMap<string, Upstream> {
  const inCode = readCode(sources);
  const inEnv = readVariables(sources);
  const inFile = sources.file ?? new Map<string, FileUpstream>();
  const upstreams = new Map<string, Upstream>();
  for (const name of new Set([...inEnv.keys(), ...inCode.keys(), ...inFile.keys()])) {
    const { where = `upstreams.${name}`, input } = inCode.get(name) ?? {};
    if (input === undefined && inCode.has(name)) continue;
    const variables = inEnv.get(name) ?? {};
    const said: Said = { name, where, input: input ?? {}, variables, file: inFile.get(name) };
    const upstream = readUpstream(said, sources);
    if (upstream === undefined) continue;
    upstreams.set(name, upstream);
    sources.provenance.set(`upstreams.${name}`, sourcesOf(said, input !== undefined));
  }
  return upstreams;
}
