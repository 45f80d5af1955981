import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { compilePolicies, refuseTwins } from '@inmesh/authz';
import { printEndpoints, type ResolvedConfig, resolveConfig, settings } from '@inmesh/config';
import { type AuthorizationPolicy, isMeshError } from '@inmesh/core';
import type { CliOutput, Command } from '../command.js';
import { UsageError } from '../command.js';
import { loadConfigFiles } from '../config-reload.js';
import { lazy } from '../lazy.js';
import { planTraffic } from '../traffic-plan.js';

interface Row {
  readonly setting: string;
  readonly value: string;
  readonly from: string;
}

function callersOf(policy: AuthorizationPolicy | undefined): string {
  return (
    policy?.rules
      .flatMap((rule) => rule.from?.flatMap((source) => source.principals ?? []) ?? [])
      .join(',') ?? ''
  );
}

function rows({ values, provenance }: ResolvedConfig): readonly Row[] {
  const from = (key: string): string => provenance.get(key) ?? '';
  const plain = settings.map(({ key, kind }): Row => {
    const value = values[key];
    return {
      setting: key,
      value: value === undefined ? '' : (kind.print as (value: unknown) => string)(value),
      from: from(key),
    };
  });
  const clusters = [...values.upstreams.values()].map(
    (upstream): Row => ({
      setting: `upstreams.${upstream.name}`,
      value: `${printEndpoints(upstream)} as ${upstream.identities.map((id) => id.uri).join(',')}`,
      from: from(`upstreams.${upstream.name}`),
    }),
  );
  const routes = [...values.routes].map(
    ([name, list]): Row => ({
      setting: `routes.${name}`,
      value: JSON.stringify(list),
      from: from(`routes.${name}`),
    }),
  );
  const policies = values.policies.map(
    ({ name, namespace, action, rules, origin: { source, line, column } }): Row => ({
      setting: `policies.${namespace}/${name}`,
      value: `${action}, ${rules.length} rule${rules.length === 1 ? '' : 's'}`,
      from: `${source}:${line}:${column}`,
    }),
  );
  const allow = (['allow', 'explainAllow', 'metricsAllow'] as const).map(
    (key): Row => ({ setting: key, value: callersOf(values[key]), from: from(key) }),
  );
  return [...plain, ...allow, ...clusters, ...routes, ...policies];
}

/** `inmesh config show` */
export const showConfig: Command = async (args, output) => {
  const { values } = parseArgs({ args: [...args], options: { json: { type: 'boolean' } } });
  const files = await loadConfigFiles({});
  const shown = rows(resolveConfig({ env: process.env, cwd: process.cwd(), file: files?.file }));
  if (values.json) output.print(JSON.stringify(shown));
  else {
    const width = (key: keyof Row): number => Math.max(...shown.map((row) => row[key].length));
    for (const row of shown)
      output.print(
        `${row.setting.padEnd(width('setting'))}  ${row.value.padEnd(Math.min(80, width('value')))}  ${row.from}`,
      );
  }
  return 0;
};

/** What a file says by itself; the name of a service that it leaves open is made up. */
async function resolveAlone(path: string): Promise<ResolvedConfig> {
  const { loadConfig } = await lazy.manifests();
  const { file } = await loadConfig(path);
  const env = file.setting('serviceName') === undefined ? { INMESH_SERVICE_NAME: 'service' } : {};
  const config = resolveConfig({ env, cwd: process.cwd(), file });
  planTraffic(config, undefined);
  const { serviceName: service, namespace, trustDomain, labels } = config.values;
  try {
    refuseTwins(config.values.policies);
    compilePolicies(config.values.policies, { service, namespace, trustDomain, labels });
  } catch (error) {
    const { frameError } = await import('@inmesh/config/policies');
    throw frameError(error, config.texts);
  }
  return config;
}

async function check(path: string, output: CliOutput): Promise<boolean> {
  try {
    await resolveAlone(path);
    output.print(`${path}: ok`);
    return true;
  } catch (error) {
    if (!isMeshError(error)) throw error;
    output.complain(`${error.message}\n`);
    return false;
  }
}

/** `inmesh config check` */
export const checkConfig: Command = async (args, output) => {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
  if (positionals.length === 0) throw new UsageError('name at least one file or directory');
  let wrong = 0;
  for (const path of positionals) if (!(await check(path, output))) wrong++;
  if (wrong === 0) return 0;
  output.complain(`${wrong} of ${positionals.length} wrong`);
  return 1;
};

function valuesOf(config: ResolvedConfig): ReadonlyMap<string, string> {
  return new Map(rows(config).map(({ setting, value }) => [setting, value]));
}

function printDifference(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
  output: CliOutput,
): void {
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const [one, other] = [before.get(name), after.get(name)];
    if (one === other) continue;
    if (one !== undefined) output.print(`- ${name} ${one}`);
    if (other !== undefined) output.print(`+ ${name} ${other}`);
  }
}

/** `inmesh config diff` */
export const diffConfig: Command = async (args, output) => {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
  const [before, after] = positionals;
  if (before === undefined || after === undefined || positionals.length > 2)
    throw new UsageError('name the old and the new file or directory');
  for (const path of positionals) if (!existsSync(resolve(path))) throw new UsageError(`there is no ${path}`);
  printDifference(valuesOf(await resolveAlone(before)), valuesOf(await resolveAlone(after)), output);
  return 0;
};

/** `inmesh config schema` */
export const printSchema: Command = async (args, output) => {
  parseArgs({ args: [...args] });
  const { manifestSchema } = await lazy.manifests();
  output.print(JSON.stringify(manifestSchema(), undefined, 2));
  return 0;
};
