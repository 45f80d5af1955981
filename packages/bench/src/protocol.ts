/** What is compared: ours, or what a careful user would write without us. */
export type Variant = 'bare' | 'mesh';
/** What is spoken. `fetch` differs from `http` in the client alone. */
export type Wire = 'fetch' | 'grpc' | 'http';

/** What a role process is told at start. */
export interface RoleConfig {
  readonly variant: Variant;
  readonly wire: Wire;
  readonly caDir: string;
  readonly cert: string;
  readonly key: string;
  readonly bundle: string;
  /** Policies of the mesh variant. */
  readonly policies: number;
  /** Port of the server; for clients. */
  readonly port?: number;
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

export type Order = Hold | Slice | { readonly kind: 'usage' };

export interface SliceResult {
  readonly requests: number;
  readonly errors: number;
  readonly cpuUs: number;
  readonly wallMs: number;
  /** Median latency in microseconds, from the intended start. */
  readonly p50Us: number;
}

export interface Usage {
  readonly cpuUs: number;
  readonly rssBytes: number;
}
