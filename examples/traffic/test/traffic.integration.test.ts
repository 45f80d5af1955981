import type { IncomingMessage, ServerResponse } from 'node:http';
import { createTestNetwork, type TestNetwork } from '@inmesh/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { traffic } from '../src/traffic.js';

describe('the traffic example', () => {
  let network: TestNetwork;
  beforeEach(async () => {
    network = await createTestNetwork();
  });
  afterEach(() => network.close());

  it('shares calls between two versions, repeats a 503, and redirects what moved', async () => {
    const seen = { old: 0, next: 0, failures: 0 };
    const reviews = await network.join('reviews', {
      app: (request: IncomingMessage, response: ServerResponse) => {
        // Every tenth call fails once.
        if (++seen.old % 10 === 0) {
          seen.failures++;
          response.writeHead(503).end();
        } else response.end(`old ${request.url}`);
      },
    });
    const next = await network.join('reviews', {
      app: (request: IncomingMessage, response: ServerResponse) => {
        seen.next++;
        response.end(`next ${String(request.headers['x-canary'])}`);
      },
    });
    const { mesh } = await network.join('shop', {
      ...traffic,
      upstreams: {
        reviews: `127.0.0.1:${reviews.port}`,
        'reviews-next': { endpoints: `127.0.0.1:${next.port}`, identity: 'reviews' },
      },
    });
    const texts: string[] = [];
    for (let i = 0; i < 200; i++) {
      const reply = await mesh.fetch('http://reviews/v1/reviews/42');
      expect(reply.status).toBe(200);
      texts.push(await reply.text());
    }
    expect(seen.failures).toBeGreaterThan(0);
    expect(new Set(texts)).toEqual(new Set(['old /v1/reviews/42', 'next true']));
    expect(seen.next).toBeLessThan(50);
    const moved = await mesh.fetch('http://reviews/reviews?page=2', { redirect: 'manual' });
    expect([moved.status, moved.headers.get('location')]).toEqual([301, 'http://reviews/v1/reviews?page=2']);
    expect(mesh.stats().clusters.find(({ name }) => name === 'reviews')?.retries).toBe(seen.failures);
  });
});
