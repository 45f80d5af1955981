import type { RunningService } from './fleet.js';

/** Calls of one service to another, as its metrics count them. */
interface Edge {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly calls: number;
  /** Those that ended with a status of 5xx, or without one. */
  readonly failed: number;
}

/** What the metrics of the services say, when the demo ends. */
export interface Topology {
  readonly edges: readonly Edge[];
  /** New certificates since the start, of all services. */
  readonly rotations: number;
}

function labelsOf(line: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    [...line.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]),
  );
}

function valueOf(line: string): number {
  return Number(line.slice(line.lastIndexOf(' ') + 1));
}

/** Adds what one service counts of its own calls. */
function addEdges(text: string, edges: Map<string, Edge>): void {
  for (const line of text.split('\n')) {
    if (!line.startsWith('istio_requests_total{') || !line.includes('reporter="source"')) continue;
    const labels = labelsOf(line);
    const [from = '', to = ''] = [labels['source_workload'], labels['destination_service_name']];
    const protocol = labels['request_protocol'] ?? '';
    const key = `${from} ${to} ${protocol}`;
    const before = edges.get(key) ?? { from, to, protocol, calls: 0, failed: 0 };
    const code = Number(labels['response_code']);
    const isFailed = code >= 500 || code === 0 || !/^0?$/.test(labels['grpc_response_status'] ?? '');
    const calls = valueOf(line);
    edges.set(key, {
      ...before,
      calls: before.calls + calls,
      failed: before.failed + (isFailed ? calls : 0),
    });
  }
}

/** Reads the metrics of every service. */
export async function readTopology(services: readonly RunningService[]): Promise<Topology> {
  const edges = new Map<string, Edge>();
  let rotations = 0;
  for (const { metricsPort } of services) {
    if (metricsPort === undefined) continue;
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    addEdges(text, edges);
    rotations += Math.max(0, Number(/^inmesh_identity_generation (\d+)$/m.exec(text)?.[1] ?? 1) - 1);
  }
  return { edges: [...edges.values()], rotations };
}

/** Draws who called whom. */
export function renderTopologyOf({ edges }: Topology): string {
  const width = Math.max(...edges.map(({ calls }) => String(calls).length));
  return edges
    .toSorted((one, other) => other.calls - one.calls)
    .map(({ from, to, protocol, calls, failed }) => {
      const share = calls === 0 ? 0 : (100 * (calls - failed)) / calls;
      return `  ${from.padEnd(10)} ──${String(calls).padStart(width)} ${protocol.padEnd(4)} calls──▶ ${to.padEnd(10)} ${share.toFixed(1)} % well`;
    })
    .join('\n');
}
