import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MeshError, type MeshErrorCode, type MtlsMode, type Origin } from '@inmesh/core';
import type { FileScope } from './config-file.js';
import type { ConfigSources, ResolvedConfig } from './config-sources.js';
import { isServiceVariable } from './kubernetes.js';
import type { MeshConfig } from './mesh-config.js';
import { didYouMean } from './nearest.js';
import { joinProblems, messageOf, placeOf, show } from './problems.js';
import { specialVariables } from './reference.js';
import { resolveAllow } from './resolve-allow.js';
import { resolveTraffic } from './resolve-traffic.js';
import type { Setting } from './setting.js';
import { settings } from './settings.js';

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
function stricterOf(setting: Setting, first: Said, other: Said): Said {
  const { kind } = setting;
  if (setting.stricter === undefined || first.value === undefined || other.value === undefined) return first;
  // Each was made by the kind of the setting, and so is what comes out.
  const value: unknown = setting.stricter(first.value as never, other.value as never);
  const print = (one: unknown): string => kind.print(one as never);
  if (print(first.value) === print(other.value)) return first;
  if (print(value) === print(first.value))
    return { value, source: `${first.source}, stricter than ${other.source}` };
  return { value, source: `${other.source}, stricter than ${first.source}` };
}

/** Variables that name who may call; they are no plain values. */
const allowVariables: ReadonlySet<string> = new Set([
  'INMESH_ALLOW',
  'INMESH_EXPLAIN_ALLOW',
  'INMESH_METRICS_ALLOW',
]);

class Resolver {
  readonly problems: string[] = [];
  readonly provenance = new Map<string, string>();
  readonly #values = new Map<string, unknown>();
  readonly sources: ConfigSources;
  readonly #known = new Set(settings.map((one) => one.variable));
  readonly origins = new Map<string, Origin>();
  #code: MeshErrorCode | undefined;

  constructor(sources: ConfigSources) {
    this.sources = sources;
  }

  /** What everybody else says is wrong comes before what is wrong in the file. */
  get all(): readonly string[] {
    return [...this.problems, ...(this.sources.file?.mistakes.problems ?? [])];
  }

  get code(): MeshErrorCode {
    const ofFile = this.problems.length === 0 ? this.sources.file?.mistakes.code : undefined;
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
    this.#values.set('allow', resolveAllow('allow', 'INMESH_ALLOW', own, this));
    this.#values.set('explainAllow', resolveAllow('explainAllow', 'INMESH_EXPLAIN_ALLOW', own, this));
    this.#values.set('metricsAllow', resolveAllow('metricsAllow', 'INMESH_METRICS_ALLOW', own, this));
    this.#values.set('policies', Object.freeze(this.sources.file?.policies(own) ?? []));
    this.#meetPeerMode(own);
    this.#checkMetrics();
    if (this.problems.length === 0) this.#checkLogs();
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
    for (const [name, value] of Object.entries(this.sources.env)) {
      if (!name.startsWith('INMESH_') || value === undefined) continue;
      if (this.#known.has(name) || allowVariables.has(name) || isServiceVariable(name, value)) continue;
      // Those are read, and refused, where upstreams are.
      if (/^INMESH_UPSTREAM_./.test(name)) continue;
      this.#code = 'INMESH_ERR_CONFIG_UNKNOWN';
      this.#problem(`there is no variable ${name}${this.#hintFor(name)}`);
    }
    const keys = [
      ...settings.map((one) => one.key),
      'upstreams',
      'routes',
      'allow',
      'explainAllow',
      'metricsAllow',
    ];
    const { code = {}, otherOptions = [] } = this.sources;
    for (const key of Object.keys(code)) {
      if (keys.includes(key)) continue;
      this.#code = 'INMESH_ERR_CONFIG_UNKNOWN';
      this.#problem(`there is no option "${key}"${didYouMean(key, [...keys, ...otherOptions])}`);
    }
  }

  /** Upstreams and routes of every source. */
  #resolveTraffic(own: FileScope): void {
    const { upstreams, routes } = resolveTraffic(this.sources, own, this);
    this.#values.set('upstreams', upstreams);
    this.#values.set('routes', routes);
  }

  /** The stricter of `INMESH_MTLS` and `PeerAuthentication`; what nobody said is no wish to be met. */
  #meetPeerMode(own: FileScope): void {
    const peer = this.sources.file?.peerMode(own);
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

  /** What code says; `undefined` if nothing. */
  #inCode({ key, kind }: Setting): Said | undefined {
    const given: unknown = this.sources.code?.[key];
    if (given === undefined) return undefined;
    return this.#said('code', `option ${key}: ${show(given)}`, () => kind.check(given));
  }

  /** What the environment says; `undefined` if nothing. */
  #inEnv({ variable, kind, isGuard }: Setting): Said | undefined {
    const given = this.sources.env[variable];
    if (given === undefined || (given === '' && !isGuard)) return undefined;
    if (given !== '') return this.#said(variable, `${variable}="${given}"`, () => kind.parse(given));
    this.#problem(`${variable} is empty; give it a value or unset it`);
    return { source: variable, value: undefined };
  }

  #said(source: string, shown: string, read: () => unknown): Said {
    try {
      return { source, value: read() };
    } catch (error) {
      this.#problem(`${shown}: ${messageOf(error)}`);
      return { source, value: undefined };
    }
  }

  /** Plain values are read as text: a number is no duration. */
  #inFile({ key, kind }: Setting): Said | undefined {
    const { file } = this.sources;
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
    const said = [this.#inCode(one), this.#inEnv(one), this.#inFile(one)].filter(
      (each) => each !== undefined,
    );
    const [first, ...others] = said;
    if (first === undefined) {
      this.provenance.set(one.key, 'default');
      return one.fallback;
    }
    if (one.mustAgree && said.some(({ value }) => value !== first.value)) {
      const places = said.map(({ source }) => source).join(' and ');
      this.#problem(
        `${places} differ in ${one.key}: what one of them guards the other would drop; say it once`,
      );
      return one.fallback;
    }
    let held = first;
    for (const other of others) held = stricterOf(one, held, other);
    this.provenance.set(one.key, held.source);
    return held.value;
  }

  #nameService(): void {
    const { env, cwd } = this.sources;
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

  /** What is asked for and then dropped for its level would be a log that somebody misses when it is needed. */
  #checkLogs(): void {
    const level = String(this.#values.get('logLevel'));
    if (this.sources.hasOwnLogger === true || ['debug', 'info'].includes(level)) return;
    if (this.#values.get('accessLog') === 'off') return;
    this.#problem(`INMESH_ACCESS_LOG logs calls at level info, and INMESH_LOG_LEVEL is ${level}`);
  }

  /** A guard of a listener that is not there guards nothing. */
  #checkMetrics(): void {
    if (this.#values.get('metricsAllow') === undefined) return;
    if (this.#values.get('metricsAddr') === undefined)
      this.#problem('INMESH_METRICS_ALLOW says who may read metrics; INMESH_METRICS_ADDR does not say where');
    if (this.#values.get('mtls') === 'disable')
      this.#problem('INMESH_METRICS_ALLOW asks for identities, and INMESH_MTLS=disable leaves nobody one');
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
