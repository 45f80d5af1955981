/**
 * Who is compared. `bare` is what a careful user would write without us: over HTTP one pool to one endpoint, over
 * gRPC round robin over three. `bare-equal` has the endpoints and headers of `mesh`, which is ours with three
 * endpoints, retries armed and a deadline; `mesh-one` is ours as it comes, with one endpoint. `plain` is an
 * application behind a proxy. `diy` is made of libraries; `diy-uncounted` without their metrics. `diy-traced` and
 * `mesh-traced` record one of a hundred traces.
 */
export type Variant =
  | 'bare'
  | 'bare-equal'
  | 'diy'
  | 'diy-traced'
  | 'diy-uncounted'
  | 'mesh'
  | 'mesh-one'
  | 'mesh-traced'
  | 'plain';
/** What is spoken. `fetch` differs from `http` in the client alone. */
export type Wire = 'fetch' | 'grpc' | 'http';

/** Files of an identity, PEM. */
export interface IdentityFiles {
  readonly cert: string;
  readonly key: string;
  readonly bundle: string;
}

/** Files that both ends prove themselves with. Its names are those of the client and `localhost`. */
export interface Material extends IdentityFiles {
  /** For what proxies want to read. */
  readonly dir: string;
  readonly caDir: string;
  /** Of our server, whose name our client expects. */
  readonly server: IdentityFiles;
}

/** What a role process is told at start. */
export interface RoleConfig {
  readonly variant: Variant;
  readonly wire: Wire;
  readonly material: Material;
  /** Policies of a server. */
  readonly policies: number;
  /** Ports of the server; for clients. */
  readonly ports: readonly number[];
}

/** Bound on a call where there is one, in milliseconds; wide, so that a machine that is busy otherwise fails no call. */
export const deadlineMs = 30_000;

/** Whether it is ours. */
export function isMesh(variant: Variant): boolean {
  return variant === 'mesh' || variant === 'mesh-one' || variant === 'mesh-traced';
}

/** Whether it is made of libraries. */
export function isDiy(variant: Variant): boolean {
  return variant === 'diy' || variant === 'diy-traced' || variant === 'diy-uncounted';
}

/** Begins to trace, if the variant does. */
export async function traceIf(variant: Variant): Promise<void> {
  if (variant !== 'diy-traced' && variant !== 'mesh-traced') return;
  const { instrument, startSdk } = await import('./peers/tracing.js');
  startSdk();
  if (isDiy(variant)) instrument();
}

/** Endpoints of a server. */
export function listenersOf(variant: Variant, wire: Wire): number {
  return variant === 'mesh' ||
    variant === 'mesh-traced' ||
    variant === 'bare-equal' ||
    (wire === 'grpc' && variant === 'bare')
    ? 3
    : 1;
}

/** What a client is asked to do: so many at once, or so many a second. */
export interface Slice {
  readonly kind: 'slice';
  readonly load: { readonly concurrency: number } | { readonly rate: number };
  readonly ms: number;
}

/** Opens idle connections and holds them. */
interface Hold {
  readonly kind: 'hold';
  readonly connections: number;
}

export type Order = Hold | Slice | { readonly kind: 'memory' } | { readonly kind: 'usage' };

export interface SliceResult {
  readonly requests: number;
  readonly errors: number;
  /** Of the last error. */
  readonly reason: string;
  readonly cpuUs: number;
  readonly wallMs: number;
  /** Median latency in microseconds, from the intended start. */
  readonly p50Us: number;
}

/** Answer to `usage`; for `memory`, after a collection. */
export interface Usage {
  readonly cpuUs: number;
  readonly rssBytes: number;
}

/** First word of a process. */
export interface Hello {
  readonly ports?: readonly number[];
}

/** What one run of something costs. */
export interface Cost {
  /** CPU, in nanoseconds. */
  readonly ns: number;
  /** Allocated. */
  readonly bytes: number;
}

/** What the service in the middle of a soak is told at start. */
export interface SoakConfig {
  readonly material: Material;
  /** Life of its certificates, in milliseconds. */
  readonly ttlMs: number;
}

/** What it is asked: where its upstreams are now, or what it holds on to. */
export type SoakOrder =
  | {
      readonly kind: 'endpoints';
      readonly httpPorts: readonly number[];
      readonly grpcPorts: readonly number[];
    }
  | { readonly kind: 'sample' };

/** What a process holds on to, after a collection. */
export interface SoakSample {
  readonly heapBytes: number;
  readonly rssBytes: number;
  readonly sockets: number;
  readonly timers: number;
  readonly listeners: number;
  /** Certificates that came after the first. */
  readonly rotations: number;
}
