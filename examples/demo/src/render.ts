import type { Tally } from './drive.js';
import type { Fleet } from './fleet.js';

/** Who calls whom, and where everything is. */
export function renderTopology(fleet: Fleet): string {
  const rows = fleet.services.map(({ name, replica, framework, port, pid, identity }) => {
    const label = fleet.services.filter((one) => one.name === name).length > 1 ? `${name}-${replica}` : name;
    return `  ${label.padEnd(10)} ${framework.padEnd(8)} 127.0.0.1:${String(port).padEnd(6)} pid ${String(pid).padEnd(8)} ${identity}`;
  });
  return [
    '',
    '  admin ──mTLS──▶ web ──mTLS──▶ orders ×3 ──mTLS──▶ catalog',
    '                   └──gRPC over mTLS──▶ payments        no sidecar, no extra hop',
    '',
    ...rows,
    '',
  ].join('\n');
}

function lines(tally: Tally): readonly (readonly [string, string])[] {
  return [
    ['shop calls through the whole chain', String(tally.shop)],
    ['  by replica of orders', [...tally.replicas.values()].join(' + ') || '-'],
    ['failed', String(tally.failed.length)],
    ...['valid identity, no permission', "foreign CA, web's own name", 'no certificate', 'plaintext'].map(
      (who) => [`intruder: ${who}`, `${tally.refused.get(who) ?? 0} refused`] as const,
    ),
    ['let in', String(tally.letIn.length)],
  ];
}

/** What happened so far, for the terminal. */
export function renderTally(tally: Tally): string {
  return lines(tally)
    .map(([name, value]) => `  ${name.padEnd(42)} ${value.padEnd(24)}`)
    .join('\n');
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

/** What happened so far, for a browser. */
export function renderPage(fleet: Fleet, tally: Tally | undefined): string {
  const rows =
    tally === undefined
      ? ''
      : lines(tally)
          .map(([name, value]) => `<tr><td>${escape(name)}<td>${escape(value)}`)
          .join('');
  const services = fleet.services
    .map(
      ({ name, framework, port, identity }) =>
        `<tr><td>${name}<td>${framework}<td>${port}<td><code>${identity}</code>`,
    )
    .join('');
  return `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="1"><title>Inmesh demo</title>
<style>body{font:16px system-ui;max-width:60rem;margin:3rem auto;color:#123}td{padding:.3rem 1rem .3rem 0;border-bottom:1px solid #dde}h1{font-weight:600}</style>
<h1>Inmesh demo</h1><table>${services}</table><h2>So far</h2><table>${rows}</table>`;
}
