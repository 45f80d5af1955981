/** A policy of the bench, for whoever enforces it. */
export interface BenchPolicy {
  readonly name: string;
  readonly isDeny: boolean;
  /** Whom it is about: one caller, or all of a namespace. */
  readonly from: { readonly account: string } | { readonly namespace: string };
  /** `exact`, up to the end, or with one segment left open; none is every path and method. */
  readonly path?:
    | { readonly exact: string }
    | { readonly prefix: string }
    | { readonly before: string; readonly after: string };
  /** Value that `x-team` must have. */
  readonly team?: string;
}

function policy(i: number): BenchPolicy {
  const name = `p${i}`;
  if (i === 0) return { name, isDeny: false, from: { account: 'client' } };
  const from = i % 3 === 2 ? { namespace: `ns${i}` } : { account: `caller${i}` };
  const path =
    i % 3 === 0
      ? { exact: `/s${i}/v1` }
      : i % 3 === 1
        ? { prefix: `/s${i}/` }
        : { before: `/s${i}/`, after: '/items' };
  return { name, isDeny: i % 10 === 1, from, path, ...(i % 10 === 5 ? { team: 'red' } : {}) };
}

/** Policies of a busy namespace: most for other callers and paths, one that allows the client. */
export function benchPolicies(count: number): readonly BenchPolicy[] {
  return Array.from({ length: count }, (_, i) => policy(i));
}

function pathOf(path: NonNullable<BenchPolicy['path']>): string {
  if ('exact' in path) return path.exact;
  return 'prefix' in path ? `${path.prefix}*` : `${path.before}{*}${path.after}`;
}

/** The same as objects of Istio. */
export function makePolicies(count: number): readonly object[] {
  return benchPolicies(count).map(({ name, isDeny, from, path, team }) => {
    const source =
      'namespace' in from
        ? { namespaces: [from.namespace] }
        : { principals: [`dev.local/ns/default/sa/${from.account}`] };
    const to = path && { to: [{ operation: { paths: [pathOf(path)], methods: ['GET'] } }] };
    const when = team !== undefined && { when: [{ key: 'request.headers[x-team]', values: [team] }] };
    const rule = { from: [{ source }], ...to, ...when };
    return { metadata: { name }, spec: { action: isDeny ? 'DENY' : 'ALLOW', rules: [rule] } };
  });
}
