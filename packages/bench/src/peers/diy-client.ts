// What a team assembles of libraries: a pool, retries, a breaker, a timeout, metrics.
import { ConsecutiveBreaker, circuitBreaker, handleAll, TimeoutStrategy, timeout, wrap } from 'cockatiel';
import { Histogram } from 'prom-client';
import { RetryAgent } from 'undici';
import { openPool, path } from '../pool.js';
import { deadlineMs, type RoleConfig } from '../protocol.js';

export function openDiy(config: RoleConfig): () => Promise<void> {
  const origin = `https://localhost:${config.ports[0]}`;
  const retrying = new RetryAgent(openPool(origin, config), { maxRetries: 2, methods: ['GET', 'HEAD'] });
  const policy = wrap(
    circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) }),
    timeout(deadlineMs, TimeoutStrategy.Cooperative),
  );
  const seconds = new Histogram({
    name: 'client_request_duration_seconds',
    help: 'Time to the end of a reply.',
    labelNames: ['upstream', 'method', 'code'],
  });
  const isCounted = config.variant !== 'diy-uncounted';
  return () =>
    policy.execute(async ({ signal }) => {
      const end = isCounted ? seconds.startTimer({ upstream: 'server', method: 'GET' }) : undefined;
      const { statusCode, body } = await retrying.request({ origin, path, method: 'GET', signal });
      await body.json();
      end?.({ code: statusCode });
      if (statusCode !== 200) throw new Error(String(statusCode));
    });
}
