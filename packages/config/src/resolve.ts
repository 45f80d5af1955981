import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type AuthorizationPolicy,
  MeshError,
  type MeshErrorCode,
  type MtlsMode,
  type Origin,
  type RetryOn,
} from '@inmesh/core';
import { parseAllow } from './allow.js';
import type { ConfigFile, FileScope } from './config-file.js';
import type { ListenAddress } from './kinds.js';
import { isServiceVariable } from './kubernetes.js';
import type { MeshConfig } from './mesh-config.js';
import { didYouMean } from './nearest.js';
import { joinProblems, messageOf, show } from './problems.js';
import { specialVariables } from './reference.js';
import type { RouteInput } from './route-input.js';
import { resolveRoutes } from './routes.js';
import type { Setting, SettingKey } from './setting.js';
import { settings } from './settings.js';
import type { UpstreamOptions } from './upstream.js';
import { resolveUpstreams } from './upstreams.js';

/** Settings given in code; durations as milliseconds or text. They win over the environment. */
export type MeshSettings = {
  readonly [K in SettingKey]?:
    | MeshConfig[K]
    | (NonNullable<MeshConfig[K]> extends ListenAddress | RetryOn | number ? string : never)
    | undefined;
} & {
  /** Upstreams by name; field by field they win over the environment. */
  readonly upstreams?: Readonly<Record<string, UpstreamOptions>> | undefined;
  /** Routes by mesh name; the first that matches counts. A name without routes goes to the upstream of that name. */
  readonly routes?: Readonly<Record<string, readonly RouteInput[]>> | undefined;
  /** Like `INMESH_ALLOW`. */
  readonly allow?: string | undefined;
  /** Like `INMESH_METRICS_ALLOW`. */
  readonly metricsAllow?: string | undefined;
};

/** Where a value came from: `code`, `default`, a variable, or `file:line:column`. */
export type Provenance = ReadonlyMap<string, string>;

/** Where the parts of a file stand that rules are checked for later: `upstreams.<name>`, `routes.<name>[<index>]`. */
export type Origins = ReadonlyMap<string, Origin>;

/** A configuration and where each value of it came from. */
export interface ResolvedConfig {
  /** The values. */
  readonly values: MeshConfig;
  /** Keys of {@link MeshConfig}, `upstreams.<name>` for each upstream, `routes.<name>` for each name with routes. */
  readonly provenance: Provenance;
  /** Places in the configuration file. */
  readonly origins: Origins;
  /** Texts of the configuration file, by name. */
  readonly texts: ReadonlyMap<string, string>;
}

/** What {@link resolveConfig} reads. */
export interface ConfigSources {
  /** Environment, such as `process.env`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Settings in code. */
  readonly code?: MeshSettings | undefined;
  /** Directory whose `package.json` may name the service. */
  readonly cwd: string;
  /** The configuration file, read. @defaultValue none */
  readonly file?: ConfigFile | undefined;
  /** Options that others check: named where an option does not exist. @defaultValue none */
  readonly otherOptions?: readonly string[] | undefined;
}

function packageName(cwd: string): string | undefined {
  try {
    const { name } = JSON.parse(readFileSync(join(cwd, 'package.json'), 'utf8')) as { name?: unknown };
    return typeof name === 'string'
      ? name
          .replace(/^@[^/]*\//, '')
          .toLowerCase()
          .replaceAll(/[^a-z0-9-]+/g, '-')
      : undefined;
  } catch {
    return undefined;
  }
}

/** What a source says of a setting; no value if it is wrong. */
interface Said {
  readonly source: string;
  readonly value: unknown;
}

/** The first, unless the setting guards something and the other is stricter. */
function stricterOf({ stricter, kind }: Setting, first: Said, other: Said): Said {
  if (stricter === undefined || first.value === undefined || other.value === undefined) return first;
  // Each was made by the kind of the setting, and so is what comes out.
  const value = stricter(first.value as never, other.value as never) as unknown;
  const print = (one: unknown): string => kind.print(one as never);
  if (print(first.value) === print(other.value)) return first;
  if (print(value) === print(first.value))
    return { value, source: `${first.source}, stricter than ${other.source}` };
  return { value, source: `${other.source}, stricter than ${first.source}` };
}

function placeOf({ source, line, column }: Origin): string {
  return `${source}:${line}:${column}`;
}

/** Variables that name who may call; they are no plain values. */
const allowVariables: ReadonlySet<string> = new Set(['INMESH_ALLOW', 'INMESH_METRICS_ALLOW']);

class Resolver {
  readonly problems: string[] = [];
  readonly provenance = new Map<string, string>();
  readonly #values = new Map<string, unknown>();
  readonly #sources: ConfigSources;
  readonly #known = new Set(settings.map((one) => one.variable));
  readonly origins = new Map<string, Origin>();
  #code: MeshErrorCode | undefined;

  constructor(sources: ConfigSources) {
    this.#sources = sources;
  }

  /** What everybody else says is wrong comes before what is wrong in the file. */
  get all(): readonly string[] {
    return [...this.problems, ...(this.#sources.file?.mistakes.problems ?? [])];
  }

  get code(): MeshErrorCode {
    const ofFile = this.problems.length === 0 ? this.#sources.file?.mistakes.code : undefined;
    return this.#code ?? ofFile ?? 'INMESH_ERR_CONFIG_INVALID';
  }

  resolve(): MeshConfig {
    this.#checkNames();
    for (const one of settings) this.#values.set(one.key, this.#plain(one));
    this.#nameService();
    if (this.problems.length === 0) this.#checkIdentityFiles();
    const own: FileScope = {
      namespace: String(this.#values.get('namespace')),
      trustDomain: String(this.#values.get('trustDomain')),
      // Checked by its kind, or made of the name.
      labels: (this.#values.get('labels') ?? {}) as FileScope['labels'],
    };
    this.#values.set('allow', this.#allow('allow', 'INMESH_ALLOW', own));
    this.#values.set('metricsAllow', this.#allow('metricsAllow', 'INMESH_METRICS_ALLOW', own));
    this.#values.set('policies', Object.freeze(this.#sources.file?.policies(own) ?? []));
    this.#meetPeerMode(own);
    this.#checkMetrics();
    this.#resolveTraffic(own);
    // Every key of the table and the five others were set above, each checked by its kind.
    return Object.freeze(Object.fromEntries(this.#values)) as unknown as MeshConfig;
  }

  #problem(text: string): undefined {
    this.problems.push(text);
    return undefined;
  }

  #hintFor(name: string): string {
    // The name of the upstream is missing, which is too far from any that there is.
    if (/^INMESH_UPSTREAMS?_?$/.test(name)) return '; an upstream is named: INMESH_UPSTREAM_<NAME>=host:port';
    return didYouMean(name, [...this.#known, ...specialVariables.map((one) => one.variable)]);
  }

  /** An unknown name is an error: a misspelt guard that is ignored guards nothing. */
  #checkNames(): void {
    for (const [name, value] of Object.entries(this.#sources.env)) {
      if (!name.startsWith('INMESH_') || value === undefined) continue;
      if (this.#known.has(name) || allowVariables.has(name) || isServiceVariable(name, value)) continue;
      // Those are read, and refused, where upstreams are.
      if (/^INMESH_UPSTREAM_./.test(name)) continue;
      this.#code = 'INMESH_ERR_CONFIG_UNKNOWN';
      this.#problem(`there is no variable ${name}${this.#hintFor(name)}`);
    }
    const keys = [...settings.map((one) => one.key), 'upstreams', 'routes', 'allow', 'metricsAllow'];
    const { code = {}, otherOptions = [] } = this.#sources;
    for (const key of Object.keys(code)) {
      if (keys.includes(key)) continue;
      this.#code = 'INMESH_ERR_CONFIG_UNKNOWN';
      this.#problem(`there is no option "${key}"${didYouMean(key, [...keys, ...otherOptions])}`);
    }
  }

  /** Upstreams and routes of every source. */
  #resolveTraffic(own: FileScope): void {
    const { env, code, file } = this.#sources;
    const { problems, provenance, origins } = this;
    const ofFile = file?.upstreams(own);
    const plain = resolveUpstreams({ env, code: code?.upstreams, file: ofFile, own, problems, provenance });
    for (const [name, { origin }] of ofFile ?? []) origins.set(`upstreams.${name}`, origin);
    const traffic = file?.traffic(own, plain);
    this.#values.set('upstreams', traffic?.upstreams ?? plain);
    for (const [name, origin] of traffic?.origins ?? []) {
      const key = `upstreams.${name}`;
      const before = provenance.get(key);
      const place = placeOf(origin);
      provenance.set(key, before === undefined || before === place ? place : `${before} and ${place}`);
      origins.set(key, origin);
    }
    const ofCode = resolveRoutes({ code: code?.routes, own, problems, provenance });
    const routes = new Map([...(traffic?.routes ?? [])].map(([name, one]) => [name, one.inputs]));
    for (const [name, one] of traffic?.routes ?? []) {
      if (ofCode.has(name)) continue;
      for (const [i, origin] of one.origins.entries()) origins.set(`routes.${name}[${i}]`, origin);
      const [first] = one.origins;
      if (first !== undefined) provenance.set(`routes.${name}`, placeOf(first));
    }
    for (const [name, list] of ofCode) routes.set(name, list);
    this.#values.set('routes', routes);
  }

  /** The stricter of `INMESH_MTLS` and `PeerAuthentication`; what nobody said is no wish to be met. */
  #meetPeerMode(own: FileScope): void {
    const peer = this.#sources.file?.peerMode(own);
    const mtls = settings.find(({ key }) => key === 'mtls');
    if (peer === undefined || mtls === undefined) return;
    const place = placeOf(peer.origin);
    const before = this.provenance.get('mtls') ?? 'default';
    if (before === 'default') {
      this.#values.set('mtls', peer.mode);
      this.provenance.set('mtls', place);
      return;
    }
    const said = this.#values.get('mtls') as MtlsMode | undefined;
    if (said === undefined || said === peer.mode) return;
    const isPeer = mtls.stricter?.(said, peer.mode) === peer.mode;
    this.#values.set('mtls', isPeer ? peer.mode : said);
    this.provenance.set(
      'mtls',
      isPeer ? `${place}, stricter than ${before}` : `${before}, stricter than ${place}`,
    );
  }

  /** What one source says; `undefined` if nothing. */
  #said(one: Setting, from: 'code' | 'env' | 'file'): Said | undefined {
    const { key, variable, kind, isGuard } = one;
    if (from === 'file') return this.#inFile(one);
    const given: unknown = from === 'code' ? this.#sources.code?.[key] : this.#sources.env[variable];
    if (given === undefined || (from === 'env' && given === '' && !isGuard)) return undefined;
    const source = from === 'code' ? 'code' : variable;
    if (from === 'env' && given === '') {
      this.#problem(`${variable} is empty; give it a value or unset it`);
      return { source, value: undefined };
    }
    try {
      return { source, value: from === 'code' ? kind.check(given) : kind.parse(String(given)) };
    } catch (error) {
      const shown = from === 'code' ? `option ${key}: ${show(given)}` : `${variable}="${String(given)}"`;
      this.#problem(`${shown}: ${messageOf(error)}`);
      return { source, value: undefined };
    }
  }

  /** Plain values are read as text: a number is no duration. */
  #inFile({ key, kind }: Setting): Said | undefined {
    const { file } = this.#sources;
    const given = file?.setting(key);
    if (file === undefined || given === undefined) return undefined;
    const source = placeOf(given.origin);
    const { value } = given;
    try {
      const isPlain = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
      return { source, value: isPlain ? kind.parse(String(value)) : kind.check(value) };
    } catch (error) {
      file.wrong(given.origin, `${key}: ${messageOf(error)}`);
      return { source, value: undefined };
    }
  }

  #plain(one: Setting): unknown {
    const said = (['code', 'env', 'file'] as const).flatMap((from) => this.#said(one, from) ?? []);
    const [first, ...others] = said;
    if (first === undefined) {
      this.provenance.set(one.key, 'default');
      return one.fallback;
    }
    let held = first;
    for (const other of others) held = stricterOf(one, held, other);
    this.provenance.set(one.key, held.source);
    return held.value;
  }

  #nameService(): void {
    const { env, cwd } = this.#sources;
    if (this.#values.get('serviceName') === undefined && this.provenance.get('serviceName') === 'default') {
      const fromOtel = env['OTEL_SERVICE_NAME'];
      const name = fromOtel || packageName(cwd);
      const from = fromOtel ? 'OTEL_SERVICE_NAME' : 'package.json';
      if (name === undefined) this.#problem('this service has no name; set INMESH_SERVICE_NAME');
      else if (!/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(name))
        this.#problem(
          `${from} gives the service name "${name}", which is not a DNS label; set INMESH_SERVICE_NAME`,
        );
      else {
        this.#values.set('serviceName', name);
        this.provenance.set('serviceName', from);
      }
    }
    if (this.#values.get('labels') === undefined)
      this.#values.set('labels', Object.freeze({ app: String(this.#values.get('serviceName')) }));
  }

  #checkIdentityFiles(): void {
    const names = ['certFile', 'keyFile', 'caFile'] as const;
    const given = names.filter((name) => this.#values.get(name) !== undefined);
    const identity = this.#values.get('identity');
    const variables = 'INMESH_CERT_FILE, INMESH_KEY_FILE and INMESH_CA_FILE';
    if (given.length > 0 && given.length < 3) {
      const from = given.map((name) => {
        const source = this.provenance.get(name) ?? 'code';
        return source === 'code' ? `option ${name}` : source;
      });
      this.#problem(
        `${variables} belong together; ${from.join(' and ')} alone ${given.length === 1 ? 'says' : 'say'} nothing`,
      );
    } else if (identity === 'files' && given.length === 0)
      this.#problem(`INMESH_IDENTITY=files needs ${variables}`);
    else if (identity === 'dev' && given.length > 0)
      this.#problem(`INMESH_IDENTITY=dev does not read ${variables}; unset them or INMESH_IDENTITY`);
  }

  /** A guard of a listener that is not there guards nothing. */
  #checkMetrics(): void {
    if (this.#values.get('metricsAllow') === undefined) return;
    if (this.#values.get('metricsAddr') === undefined)
      this.#problem('INMESH_METRICS_ALLOW says who may read metrics; INMESH_METRICS_ADDR does not say where');
    if (this.#values.get('mtls') === 'disable')
      this.#problem('INMESH_METRICS_ALLOW asks for identities, and INMESH_MTLS=disable leaves nobody one');
  }

  #allow(key: 'allow' | 'metricsAllow', variable: string, own: FileScope): AuthorizationPolicy | undefined {
    const { code, env, file } = this.#sources;
    const inCode: unknown = code?.[key];
    const inEnv = env[variable];
    const ofFile = file?.setting(key);
    const inFile = inCode === undefined && inEnv === undefined ? ofFile : undefined;
    const text = inCode ?? inEnv ?? inFile?.value;
    const origin = inFile?.origin;
    // Whoever is named in one place only would be let in by that place alone.
    const said = [inCode, inEnv, ofFile?.value].filter((one) => one !== undefined);
    if (said.some((one) => one !== said[0])) {
      const places = [
        inCode === undefined ? '' : 'code',
        inEnv === undefined ? '' : variable,
        ofFile && placeOf(ofFile.origin),
      ];
      this.problems.push(
        `${places.filter(Boolean).join(' and ')} name different callers for ${key}: name them in one place`,
      );
      return undefined;
    }
    const from = origin === undefined ? (inCode === undefined ? variable : 'code') : placeOf(origin);
    this.provenance.set(key, text === undefined ? 'default' : from);
    if (text === undefined) return undefined;
    const wrong = (message: string): undefined => {
      if (origin === undefined) this.problems.push(message);
      else file?.wrong(origin, message);
    };
    if (typeof text !== 'string')
      return wrong(`${origin === undefined ? 'option ' : ''}${key} is ${show(text)}; it must be text`);
    try {
      const source =
        origin === undefined && inCode !== undefined ? `option ${key}` : (origin?.source ?? variable);
      return parseAllow(text, own, source, origin);
    } catch (error) {
      return wrong(messageOf(error));
    }
  }
}

/**
 * Reads the whole configuration: code before environment before file before defaults. Where a setting guards something
 * the stricter holds.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID`, `INMESH_ERR_CONFIG_UNKNOWN`, `INMESH_ERR_CONFIG_UNSUPPORTED` or
 * `INMESH_ERR_POLICY_*`, naming every problem at once.
 */
export function resolveConfig(sources: ConfigSources): ResolvedConfig {
  const resolver = new Resolver(sources);
  const values = resolver.resolve();
  const problems = resolver.all;
  if (problems.length > 0)
    throw new MeshError(resolver.code, joinProblems(problems), { details: { problems } });
  return Object.freeze({
    values,
    provenance: resolver.provenance,
    origins: resolver.origins,
    texts: sources.file?.texts ?? new Map<string, string>(),
  });
}
