import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { isPlainObject, type ResolvedConfig, type Setting, settings } from '@inmesh/config';
import type { Files, LoadedConfig, WatchedFiles } from '@inmesh/config/manifests';
import { type AuthorizationPolicy, type Logger, MeshError, type Runtime } from '@inmesh/core';
import { checkMeshOptions } from './check-options.js';
import { lazy } from './lazy.js';
import type { MeshOptions } from './mesh-contract.js';
import type { PolicyEngine } from './policy-engine.js';
import { buildTraffic, type Traffic, type TrafficParts } from './traffic.js';

/** What changes as one when the configuration file does. */
export interface Configured {
  /** The configuration. */
  readonly config: ResolvedConfig;
  /** Clusters and routes. */
  readonly traffic: Traffic;
}

/** A configuration file, and what it was when the mesh started. */
export interface ConfigFiles extends LoadedConfig {
  /** Where it is. */
  readonly path: string;
}

/** The default, where it is there. */
const defaultFile = 'inmesh.yaml';

/** Where the configuration file is; `undefined` if there is none. What is no text is refused with the other options. */
function pathOf(options: unknown): string | undefined {
  const { configFile, env = process.env, cwd = process.cwd() } = isPlainObject(options) ? options : {};
  const dir = typeof cwd === 'string' ? cwd : process.cwd();
  // As the setting: what is there and empty is refused where settings are.
  const inEnv =
    isPlainObject(env) || env === process.env ? (env as NodeJS.ProcessEnv)['INMESH_CONFIG'] : undefined;
  const given = configFile ?? inEnv;
  if (given === undefined)
    return existsSync(resolve(dir, defaultFile)) ? resolve(dir, defaultFile) : undefined;
  return typeof given === 'string' && given !== '' ? resolve(dir, given) : undefined;
}

/**
 * Reads the configuration file, if there is one.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_UNREADABLE`
 */
export async function loadConfigFiles(options: MeshOptions): Promise<ConfigFiles | undefined> {
  const path = pathOf(options);
  if (path === undefined) return undefined;
  const { loadConfig } = await lazy.manifests();
  return { path, ...(await loadConfig(path)) };
}

/** Longest wait of a changed configuration for names of endpoints, in milliseconds. */
const longestLookupMs = 1000;

/** Whom an ALLOW policy names; where it stands is nothing of that. */
function namedIn(policy: AuthorizationPolicy | undefined): string {
  return JSON.stringify(policy?.rules.map(({ from, to, when }) => ({ from, to, when })));
}

/** Settings that a running mesh does not change: sockets, identities and names are made of them. */
function restartOnly(before: ResolvedConfig, after: ResolvedConfig): readonly string[] {
  const print = ({ key, kind }: Setting, { values }: ResolvedConfig): string =>
    values[key] === undefined ? '' : kind.print(values[key] as never);
  const changed: string[] = (settings as readonly Setting[])
    .filter((one) => print(one, before) !== print(one, after))
    .map(({ key }) => key);
  for (const key of ['explainAllow', 'metricsAllow'] as const)
    if (namedIn(before.values[key]) !== namedIn(after.values[key])) changed.push(key);
  return changed;
}

/** What {@link watchConfig} needs. */
export interface ReloadParts extends TrafficParts {
  /** What the mesh was made with. */
  readonly options: MeshOptions;
  /** What is in force. */
  readonly current: () => Configured;
  /** Refuses policies that cannot be enforced. */
  readonly policies: Pick<PolicyEngine, 'check'>;
  /** Time. */
  readonly runtime: Runtime;
  /** Told what was refused. */
  readonly logger: Logger;
}

/** Makes a configuration of changed files, or says why not; nothing of it is in force yet. */
async function remake(files: Files, path: string, parts: ReloadParts): Promise<Configured> {
  const { configOf } = await lazy.manifests();
  const before = parts.current();
  const config = checkMeshOptions(parts.options, configOf(files, path));
  const changed = restartOnly(before.config, config);
  if (changed.length > 0)
    throw new MeshError(
      'INMESH_ERR_CONFIG_INVALID',
      `only a restart changes ${changed.join(', ')}; policies, upstreams, routes and allow change at once`,
    );
  await parts.policies.check(config);
  const traffic = await buildTraffic(config, parts, before.traffic);
  // The first calls are not to fail because a name is still being looked up; but a new policy does not wait for DNS.
  await traffic.lookedUp(Math.min(config.values.startupTimeout, longestLookupMs));
  return { config, traffic };
}

/** Watches the files of a configuration. Each value it takes is whole, and checked like the one at start. */
export async function watchConfig(
  { path, files }: ConfigFiles,
  parts: ReloadParts,
): Promise<WatchedFiles<Configured>> {
  const { watchFiles } = await lazy.manifests();
  const { runtime, logger } = parts;
  return watchFiles<Configured>(
    {
      path,
      what: 'the configuration',
      code: 'INMESH_ERR_CONFIG_UNREADABLE',
      make: (changed) => remake(changed, path, parts),
      discard: ({ traffic }) => traffic.closeUnless(parts.current().traffic),
      complaint: 'configuration rejected, the last good one stays in force',
      runtime,
      logger,
    },
    { files, value: parts.current() },
  );
}
