import { type Call, contextKey, type Layer } from 'inmesh';

/** How many calls each caller may still make; carried from an inbound call to the calls made for it. */
const tenant = contextKey<string>('tenant', { carried: true });

/** What {@link budget} asks. */
export interface Ledger {
  /** Takes one call from the tenant's budget; `false` if nothing is left. */
  take(tenantName: string): Promise<boolean>;
}

/**
 * A layer of your own: it reads who pays from a header, remembers it for the calls made on the way, waits for a
 * ledger, and answers by itself when the budget is spent. The same layer serves HTTP and gRPC, client and server.
 */
export function budget(ledger: Ledger): Layer {
  return {
    role: 'budget',
    scope: 'call',
    why: 'who is not allowed does not spend anybody’s budget',
    after: ['authorize'],
    bind: ({ side }) => ({
      async request(call: Call) {
        const name = call.get(tenant) ?? call.headers.get('x-tenant') ?? 'nobody';
        call.set(tenant, name);
        if (side === 'client') {
          call.headers.set('x-tenant', name);
          return undefined;
        }
        if (await ledger.take(name)) return undefined;
        return {
          kind: 'reply',
          reply: {
            httpStatus: 429,
            headers: [['retry-after', '60']],
            body: `the budget of ${name} is spent\n`,
            grpcStatus: 'resource-exhausted',
            grpcMessage: `the budget of ${name} is spent`,
          },
        };
      },
      head: (_call, head) => head.headers.set('x-budget', 'counted'),
    }),
  };
}
