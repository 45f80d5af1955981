import { settings } from './settings.js';

/** A variable that is not a plain setting. */
export interface SpecialVariable {
  /** Its name, with a placeholder. */
  readonly variable: string;
  /** How it is written. */
  readonly kind: string;
  /** One sentence for the reference. */
  readonly text: string;
}

/** Variables that are not plain settings, for the reference. */
export const specialVariables: readonly SpecialVariable[] = Object.freeze([
  {
    variable: 'INMESH_UPSTREAM_<NAME>',
    kind: '`host:port`, `dns+host:port`, `dnssrv+_service._proto.name`; separated by commas',
    text: 'Endpoints of the service NAME: addresses, names, which are looked up again and again, and names with SRV records; `dns+` says that a name is looked up, which it is without it, too; an IPv6 address stands in brackets: `[::1]:80`; `_` stands for `-`, `__` separates a namespace: `INMESH_UPSTREAM_ORDER_DB__BILLING` is `order-db.billing`. Our own namespace may be left out.',
  },
  {
    variable: 'INMESH_UPSTREAM_<NAME>_IDENTITY',
    kind: '`spiffe://…,…` or `account` or `namespace/account`',
    text: 'Identities that the endpoints of NAME may have. Default: `spiffe://<trust domain>/ns/<namespace>/sa/<name>`.',
  },
  {
    variable: 'INMESH_ALLOW',
    kind: '`account`, `namespace/account`, `namespace/*`, `spiffe://…`, `spiffe://…/*`, `*`; separated by commas',
    text: 'Callers that are allowed: one more ALLOW policy.',
  },
  {
    variable: 'INMESH_EXPLAIN_ALLOW',
    kind: 'as `INMESH_ALLOW`',
    text: 'Who gets an answer to the header `x-inmesh-explain`: what was decided about the call, and by which rule. Without it nobody.',
  },
  {
    variable: 'INMESH_METRICS_ALLOW',
    kind: 'as `INMESH_ALLOW`',
    text: 'Who may read `/metrics`: mTLS, and one of these identities. Without it anybody may. Probes answer everybody.',
  },
]);

/** The tables of `docs/reference/configuration.md`. */
export function renderSettingsMarkdown(): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = settings.map(({ variable, key, kind, fallbackText, text }) => {
    const shown =
      fallbackText.includes('`') || fallbackText === 'none' || fallbackText === ''
        ? fallbackText
        : `\`${fallbackText}\``;
    return `| \`${variable}\` | \`${key}\` | ${cell(kind.name)} | ${shown} | ${cell(text)} |`;
  });
  const special = specialVariables.map(
    ({ variable, kind, text }) => `| \`${variable}\` | ${cell(kind)} | ${cell(text)} |`,
  );
  return [
    '| Variable | In code | Values | Default | Meaning |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    '| Variable | Values | Meaning |',
    '|---|---|---|',
    ...special,
    '',
  ].join('\n');
}
