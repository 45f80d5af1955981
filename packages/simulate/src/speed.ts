import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Row } from './row.js';

function row(name: string, ours: number, published: string, bound: number, unit: string): Row {
  const digits = unit === 'B' ? 0 : 2;
  return {
    name: `S15 ${name}, ${unit}`,
    ours: ours.toFixed(digits),
    published,
    bound: `<= ${bound}`,
    isKept: ours <= bound,
  };
}

/**
 * S15: what the driver itself costs, in real time, on this machine. In a process of its own, whose young heap is so
 * large that no collection takes anything out of the count.
 */
export function speed(): readonly Row[] {
  const script = fileURLToPath(new URL('speed-process.js', import.meta.url));
  const output = execFileSync(process.execPath, [
    '--min-semi-space-size=128',
    '--max-semi-space-size=128',
    script,
  ]);
  const [callUs = 0, callBytes = 0, furtherUs = 0, furtherBytes = 0, pickUs = 0, cycleUs = 0] = output
    .toString()
    .split(' ')
    .map(Number);
  return [
    row('call over a null transport', callUs, '0.71 to 1.14', 2.5, 'us'),
    row('call over a null transport', callBytes, '340', 600, 'B'),
    row('each further attempt', furtherUs, '-', 1, 'us'),
    row('each further attempt', furtherBytes, '-', 250, 'B'),
    row('pick of 1,000', pickUs, '0.10', 0.15, 'us'),
    row('pick, start, result, end of 1,000', cycleUs, '0.16', 0.25, 'us'),
  ];
}
