import { parseArgs } from 'node:util';
import { printEndpoints, type ResolvedConfig, resolveConfig, settings } from '@inmesh/config';
import type { Command } from '../command.js';

interface Row {
  readonly setting: string;
  readonly value: string;
  readonly from: string;
}

function rows({ values, provenance }: ResolvedConfig): readonly Row[] {
  const plain = settings.map(({ key, kind }): Row => {
    const value = values[key];
    return {
      setting: key,
      value: value === undefined ? '' : (kind.print as (value: unknown) => string)(value),
      from: provenance.get(key) ?? '',
    };
  });
  const clusters = [...values.upstreams.values()].map(
    (upstream): Row => ({
      setting: `upstreams.${upstream.name}`,
      value: `${printEndpoints(upstream)} as ${upstream.identities.map((id) => id.uri).join(',')}`,
      from: provenance.get(`upstreams.${upstream.name}`) ?? '',
    }),
  );
  const allow: Row = {
    setting: 'allow',
    value:
      values.allow?.rules
        .flatMap((rule) => rule.from?.flatMap((source) => source.principals ?? []) ?? [])
        .join(',') ?? '',
    from: provenance.get('allow') ?? '',
  };
  return [...plain, allow, ...clusters];
}

/** `inmesh config show` */
export const showConfig: Command = (args, output) => {
  const { values } = parseArgs({ args: [...args], options: { json: { type: 'boolean' } } });
  const shown = rows(resolveConfig({ env: process.env, cwd: process.cwd() }));
  if (values.json) output.print(JSON.stringify(shown));
  else {
    const width = (key: keyof Row): number => Math.max(...shown.map((row) => row[key].length));
    for (const row of shown)
      output.print(
        `${row.setting.padEnd(width('setting'))}  ${row.value.padEnd(width('value'))}  ${row.from}`,
      );
  }
  return Promise.resolve(0);
};
