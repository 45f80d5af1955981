import type { experimental } from '@grpc/grpc-js';
import type { RoutePolicy } from '@inmesh/resilience';

/** What grpc-js is told of an RPC. */
export type MethodConfig = ReturnType<experimental.ConfigSelector['invoke']>['methodConfig'];

/** Attempts that grpc-js makes at most; more in a policy are cut down to it. gRPC A6. */
const attemptsLimit = 5;

/** CANCELLED, INTERNAL, UNAVAILABLE: what grpc-js calls a broken connection or stream. */
const resetStatuses: readonly number[] = [1, 13, 14];
const deadlineExceeded = 4;
const everyStatus: readonly number[] = Array.from({ length: 16 }, (_, i) => i + 1);

/** `0.025s`: whole nanoseconds, no exponent. */
function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(9)}s`;
}

/**
 * Statuses that grpc-js may retry after: those of the conditions, and those that a broken connection or a timeout of
 * ours looks like. Whether it does is decided at the end of each attempt, where more is known than the number.
 */
function retryableStatuses({ rules, predicate }: RoutePolicy): number[] {
  if (rules.classify !== undefined) return [...everyStatus];
  const statuses = new Set(predicate.grpcStatuses);
  if (predicate.onReset) {
    for (const status of resetStatuses) statuses.add(status);
    if (rules.retry.perTryTimeoutMs > 0) statuses.add(deadlineExceeded);
  }
  return [...statuses];
}

function build(policy: RoutePolicy, isRetried: boolean): MethodConfig {
  const { retry, timeoutMs } = policy.rules;
  const config: MethodConfig = { name: [] };
  if (timeoutMs > 0) {
    const whole = Math.floor(timeoutMs / 1000);
    config.timeout = { seconds: whole, nanos: Math.round((timeoutMs - whole * 1000) * 1e6) };
  }
  if (!isRetried) return config;
  const retryableStatusCodes = retryableStatuses(policy);
  if (retryableStatusCodes.length === 0) return config;
  // A function of the user's own cannot be told to grpc-js, which draws its waits itself: the default stands in.
  const { baseMs, maxMs } = typeof retry.backoff === 'function' ? { baseMs: 25, maxMs: 250 } : retry.backoff;
  config.retryPolicy = {
    maxAttempts: Math.min(retry.maxAttempts, attemptsLimit),
    initialBackoff: seconds(baseMs),
    maxBackoff: seconds(maxMs),
    backoffMultiplier: 2,
    retryableStatusCodes,
  };
  return config;
}

interface Configs {
  readonly plain: MethodConfig;
  readonly retried: MethodConfig;
}

const compiled = new WeakMap<RoutePolicy, Configs>();

/**
 * Rules of a route as grpc-js takes them.
 *
 * @param mayRepeat - Whether the RPC may reach a handler twice; if not, only what provably reached none is sent again,
 * which grpc-js does without a policy.
 */
export function methodConfigOf(policy: RoutePolicy, mayRepeat: boolean): MethodConfig {
  let configs = compiled.get(policy);
  if (configs === undefined) {
    configs = {
      plain: build(policy, false),
      retried: build(policy, policy.rules.retry.maxAttempts > 1),
    };
    compiled.set(policy, configs);
  }
  return mayRepeat ? configs.retried : configs.plain;
}
