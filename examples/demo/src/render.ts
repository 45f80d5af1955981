import type { Tally } from './drive.js';
import { type Fleet, labelOf } from './fleet.js';

/** Who calls whom, and where everything is. */
export function renderTopology(fleet: Fleet): string {
  const rows = fleet.services.map(({ name, replica, framework, port, pid, identity }) => {
    const label = labelOf(fleet.services, { name, replica });
    return `  ${label.padEnd(10)} ${framework.padEnd(8)} 127.0.0.1:${String(port).padEnd(6)} pid ${String(pid).padEnd(8)} ${identity}`;
  });
  return [
    '',
    '  admin ──mTLS──▶ web ──mTLS──▶ orders ×4 ──mTLS──▶ catalog',
    '                   └──gRPC over mTLS──▶ payments        no sidecar, no extra hop',
    '',
    ...rows,
    '',
    '  orders-0 is killed and comes back, orders-2 is slow, orders-3 fails half of its calls',
    `  config   ${fleet.configDir}`,
    `  metrics  http://127.0.0.1:${fleet.services.find(({ name }) => name === 'web')?.metricsPort}/metrics`,
    '',
  ].join('\n');
}

function byReplica({ replicas }: Tally): string {
  return [...replicas]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([name, count]) => `${name} ${count}`)
    .join(' + ');
}

function lines(tally: Tally): readonly (readonly [string, string])[] {
  return [
    ['shop calls through the whole chain', String(tally.shop)],
    ['  by replica of orders', byReplica(tally) || '-'],
    ['failed', String(tally.failed.length)],
    ['payments, by HTTP and by gRPC', `${tally.paid} made, ${tally.inDoubt} in doubt`],
    ['  made twice', String(tally.ledger.duplicates)],
    ...['valid identity, no permission', "foreign CA, web's own name", 'no certificate', 'plaintext'].map(
      (who) => [`intruder: ${who}`, `${tally.refused.get(who) ?? 0} refused`] as const,
    ),
    ['let in', String(tally.letIn.length)],
    ['a policy that comes under load', tally.frozen.join(' → ') || '-'],
    ['certificates renewed under load', String(tally.topology.rotations)],
  ];
}

/** Who called whom, how often, how it went. */
export function renderHops(tally: Tally): string {
  const head = ['hop', 'calls', 'retries', 'ejections', 'p50 ms', 'p99 ms', 'share per replica'];
  const rows = tally.hops.map(({ from, to, calls, retries, ejections, p50, p99, shares }) => {
    const total = Math.max(
      1,
      shares.reduce((sum, { attempts }) => sum + attempts, 0),
    );
    const parts = shares
      .map(({ replica, attempts }) => `${replica} ${Math.round((100 * attempts) / total)} %`)
      .join(', ');
    return [`${from} → ${to}`, calls, retries, ejections, p50.toFixed(1), p99.toFixed(1), parts].map(String);
  });
  const widths = [20, 7, 8, 10, 8, 8, 0];
  return [head, ...rows]
    .map(
      (row) =>
        `  ${row.map((cell, i) => (i === 0 || i === 6 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')}`,
    )
    .join('\n');
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
  const hops =
    tally === undefined || tally.hops.length === 0 ? '' : `<pre>${escape(renderHops(tally))}</pre>`;
  return `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="1"><title>Inmesh demo</title>
<style>body{font:16px system-ui;max-width:60rem;margin:3rem auto;color:#123}td{padding:.3rem 1rem .3rem 0;border-bottom:1px solid #dde}h1{font-weight:600}</style>
<h1>Inmesh demo</h1><table>${services}</table><h2>So far</h2><table>${rows}</table>${hops}`;
}
