import type { MeshOptions } from 'inmesh';

/** How calls leave this service: which ones are sent again, how long they may take, where a canary begins. */
export const traffic: MeshOptions = {
  retries: 2,
  timeout: '5s',
  upstreams: {
    reviews: 'reviews-a:8443,reviews-b:8443',
    'reviews-next': {
      endpoints: 'reviews-next:8443',
      identity: 'reviews',
      rules: { outlier: { consecutive5xx: 3 }, limits: { maxRequests: 200 } },
    },
  },
  routes: {
    reviews: [
      {
        matches: [{ path: { segments: '/v1/reviews' }, methods: ['GET'] }],
        rules: { timeoutMs: 2000, retry: { statusCodes: [503] } },
        action: {
          kind: 'forward',
          backends: [
            { cluster: 'reviews', weight: 95 },
            { cluster: 'reviews-next', weight: 5, request: { set: { 'x-canary': 'true' } } },
          ],
        },
      },
      { matches: [{ path: { exact: '/reviews' } }], action: { kind: 'redirect', path: '/v1/reviews' } },
      {},
    ],
  },
};
