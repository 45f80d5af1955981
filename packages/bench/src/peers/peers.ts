import { compare, type Effort, type Loads } from '../compare.js';
import type { Material } from '../protocol.js';
import type { Contestant } from '../roles.js';
import { type Row, ratioRow, skippedRow } from '../row.js';
import { contestant } from '../suites.js';
import { envoyIstio, envoyLean } from './envoy.js';
import { haproxy } from './haproxy.js';
import { nginx } from './nginx.js';
import { findProgram, type ProxyKind, pairOf } from './proxy.js';

const kinds: ReadonlyMap<string, ProxyKind> = new Map([
  ['haproxy', haproxy],
  ['nginx', nginx],
  ['envoy', envoyLean],
  ['envoy.istio', envoyIstio],
]);

const c16: Loads = new Map([['c16', { concurrency: 16 }]]);

function whyNot({ program }: ProxyKind): string | undefined {
  if (process.platform !== 'linux') return 'CPU of foreign processes is read from /proc, on Linux alone';
  if (findProgram(program) === undefined) return `not installed; run \`npm run peers -- ${program}\``;
  return undefined;
}

/** What others cost on the same work, as a multiple of ours with everything on. */
export async function peers(material: Material, effort: Effort): Promise<readonly Row[]> {
  const others: Contestant[] = [
    contestant('diy', 'http', 'diy'),
    contestant('diy-uncounted', 'http', 'diy.uncounted'),
    contestant('diy-traced', 'http', 'diy.traced'),
    contestant('mesh-traced', 'http', 'ours.traced'),
  ];
  const skipped: Row[] = [];
  for (const [name, kind] of kinds) {
    const why = whyNot(kind);
    if (why === undefined) others.push({ name, variant: 'plain', wire: 'http', proxies: pairOf(kind) });
    else skipped.push(skippedRow(`${name}.cpu`, why));
  }
  const readings = await compare([contestant('mesh'), ...others], c16, material, effort);
  const rows = others.flatMap(({ name }) => {
    const labels = { baseline: 'mesh', load: 'c16', foreignCores: readings.foreignCores };
    const isGoal = name === 'diy.traced';
    return [
      ratioRow(`${name}.cpu`, readings.ratios(name, 'mesh', 'c16', 'cpuUs'), {
        ...labels,
        ...(isGoal ? { goal: 2, isFloor: true } : {}),
      }),
      ratioRow(`${name}.p50`, readings.ratios(name, 'mesh', 'c16', 'p50Us'), labels),
    ];
  });
  return [...rows, ...skipped];
}
