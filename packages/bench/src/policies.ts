/** Policies of a busy namespace: most for other callers and paths, one that allows the client. */
export function makePolicies(count: number): readonly object[] {
  return Array.from({ length: count }, (_, i) => {
    const isDeny = i % 10 === 1;
    const paths = [i % 3 === 0 ? `/s${i}/v1` : i % 3 === 1 ? `/s${i}/*` : `/s${i}/{*}/items`];
    const source =
      i % 3 === 2 ? { namespaces: [`ns${i}`] } : { principals: [`dev.local/ns/default/sa/caller${i}`] };
    const when = i % 10 === 5 ? { when: [{ key: 'request.headers[x-team]', values: ['red'] }] } : {};
    const rule =
      i === 0
        ? { from: [{ source: { principals: ['dev.local/ns/default/sa/client'] } }] }
        : { from: [{ source }], to: [{ operation: { paths, methods: ['GET'] } }], ...when };
    return { metadata: { name: `p${i}` }, spec: { action: isDeny ? 'DENY' : 'ALLOW', rules: [rule] } };
  });
}
