import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AuthorizationPolicy, MeshError, type MeshErrorCode, type RetryOn } from '@inmesh/core';
import { parseAllow } from './allow.js';
import type { OwnScope } from './cluster-names.js';
import type { ListenAddress } from './kinds.js';
import { isServiceVariable } from './kubernetes.js';
import type { MeshConfig } from './mesh-config.js';
import { didYouMean } from './nearest.js';
import { messageOf, show } from './problems.js';
import { specialVariables } from './reference.js';
import type { RouteInput } from './route-input.js';
import { resolveRoutes } from './routes.js';
import type { SettingKey } from './setting.js';
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

/** Where a value came from: `code`, `default`, or a variable or file. */
export type Provenance = ReadonlyMap<string, string>;

/** A configuration and where each value of it came from. */
export interface ResolvedConfig {
  /** The values. */
  readonly values: MeshConfig;
  /** Keys of {@link MeshConfig}, `upstreams.<name>` for each upstream, `routes.<name>` for each name with routes. */
  readonly provenance: Provenance;
}

/** What {@link resolveConfig} reads. */
export interface ConfigSources {
  /** Environment, such as `process.env`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Settings in code. */
  readonly code?: MeshSettings | undefined;
  /** Directory whose `package.json` may name the service. */
  readonly cwd: string;
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

/** Variables that name who may call; they are no plain values. */
const allowVariables: ReadonlySet<string> = new Set(['INMESH_ALLOW', 'INMESH_METRICS_ALLOW']);

class Resolver {
  readonly problems: string[] = [];
  readonly provenance = new Map<string, string>();
  readonly #values = new Map<string, unknown>();
  readonly #sources: ConfigSources;
  readonly #known = new Set(settings.map((one) => one.variable));
  #code: MeshErrorCode = 'INMESH_ERR_CONFIG_INVALID';

  constructor(sources: ConfigSources) {
    this.#sources = sources;
  }

  get code(): MeshErrorCode {
    return this.#code;
  }

  resolve(): MeshConfig {
    this.#checkNames();
    for (const one of settings) this.#values.set(one.key, this.#plain(one));
    this.#nameService();
    if (this.problems.length === 0) this.#checkIdentityFiles();
    const own: OwnScope = {
      namespace: String(this.#values.get('namespace')),
      trustDomain: String(this.#values.get('trustDomain')),
    };
    this.#values.set('allow', this.#allow('allow', 'INMESH_ALLOW', own));
    this.#values.set('metricsAllow', this.#allow('metricsAllow', 'INMESH_METRICS_ALLOW', own));
    this.#checkMetrics();
    const { env, code } = this.#sources;
    const { problems, provenance } = this;
    this.#values.set(
      'upstreams',
      resolveUpstreams({ env, code: code?.upstreams, own, problems, provenance }),
    );
    this.#values.set('routes', resolveRoutes({ code: code?.routes, own, problems, provenance }));
    // Every key of the table and the four others were set above, each checked by its kind.
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

  #plain({ key, variable, kind, fallback, isGuard }: (typeof settings)[number]): unknown {
    const inCode = this.#sources.code?.[key];
    const inEnv = this.#sources.env[variable];
    try {
      if (inCode !== undefined) {
        this.provenance.set(key, 'code');
        return kind.check(inCode);
      }
      if (inEnv !== undefined && (inEnv !== '' || isGuard)) {
        this.provenance.set(key, variable);
        return inEnv === ''
          ? this.#problem(`${variable} is empty; give it a value or unset it`)
          : kind.parse(inEnv);
      }
    } catch (error) {
      const shown =
        inCode === undefined ? `${variable}="${String(inEnv)}"` : `option ${key}: ${show(inCode)}`;
      return this.#problem(`${shown}: ${messageOf(error)}`);
    }
    this.provenance.set(key, 'default');
    return fallback;
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

  #allow(key: 'allow' | 'metricsAllow', variable: string, own: OwnScope): AuthorizationPolicy | undefined {
    const inCode: unknown = this.#sources.code?.[key];
    const text = inCode ?? this.#sources.env[variable];
    this.provenance.set(key, inCode === undefined ? (text === undefined ? 'default' : variable) : 'code');
    if (text === undefined) return undefined;
    if (typeof text !== 'string') return this.#problem(`option ${key} is ${show(text)}; it must be text`);
    try {
      return parseAllow(text, own, inCode === undefined ? variable : `option ${key}`);
    } catch (error) {
      return this.#problem(messageOf(error));
    }
  }
}

/**
 * Reads the whole configuration, code before environment before defaults.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID` or `INMESH_ERR_CONFIG_UNKNOWN`, naming every problem at once.
 */
export function resolveConfig(sources: ConfigSources): ResolvedConfig {
  const resolver = new Resolver(sources);
  const values = resolver.resolve();
  if (resolver.problems.length > 0) {
    throw new MeshError(resolver.code, resolver.problems.join('\n'), {
      details: { problems: resolver.problems },
    });
  }
  return Object.freeze({ values, provenance: resolver.provenance });
}
