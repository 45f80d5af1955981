import type { Origin, RetryOn } from '@inmesh/core';
import type { ConfigFile } from './config-file.js';
import type { ListenAddress } from './kinds.js';
import type { MeshConfig } from './mesh-config.js';
import type { RouteInput } from './route-input.js';
import type { SettingKey } from './setting.js';
import type { UpstreamOptions } from './upstream.js';

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
  /** Like `INMESH_EXPLAIN_ALLOW`. */
  readonly explainAllow?: string | undefined;
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
  /** Whether the application logs by itself: then `logLevel` is the level of nobody. @defaultValue false */
  readonly hasOwnLogger?: boolean | undefined;
}
