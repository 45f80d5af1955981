import type { experimental } from '@grpc/grpc-js';
import { defaultBackoff, type RoutePolicy } from '@inmesh/resilience';
import { resetStatuses } from './outcome.js';

/** What grpc-js is told of an RPC. */
export type MethodConfig = ReturnType<experimental.ConfigSelector['invoke']>['methodConfig'];

/** Attempts that grpc-js makes at most; more in a policy are cut down to it. gRPC A6. */
const attemptsLimit = 5;

const deadlineExceeded = 4;
/** What a refused stream becomes. */
const unavailable = 14;
const everyStatus: readonly number[] = Array.from({ length: 16 }, (_, i) => i + 1);

/**
 * What of an RPC may be sent again: anything, if it may reach a handler twice; what provably reached none, however
 * often that happens; nothing, except what grpc-js repeats of itself, once.
 */
export type Repeats = 'anything' | 'nothing' | 'refused';

/** `0.025s`: whole nanoseconds, no exponent. */
function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(9)}s`;
}

/**
 * Statuses that grpc-js may retry after: those of the conditions, and those that a broken connection or a timeout of
 * ours looks like. Whether it does is decided at the end of each attempt, where more is known than the number.
 */
function retryableStatuses({ rules, predicate }: RoutePolicy, repeats: Repeats): number[] {
  const isRefusedRetryable = predicate.onRefused || rules.classify !== undefined;
  if (repeats === 'nothing') return [];
  if (repeats === 'refused') return isRefusedRetryable ? [unavailable] : [];
  if (rules.classify !== undefined) return [...everyStatus];
  const statuses = new Set(predicate.grpcStatuses);
  if (isRefusedRetryable) statuses.add(unavailable);
  if (predicate.onReset) {
    for (const status of resetStatuses) statuses.add(status);
    if (rules.retry.perTryTimeoutMs > 0) statuses.add(deadlineExceeded);
  }
  return [...statuses];
}

function build(policy: RoutePolicy, repeats: Repeats): MethodConfig {
  const { retry, timeoutMs } = policy.rules;
  const config: MethodConfig = { name: [] };
  if (timeoutMs > 0) {
    const whole = Math.floor(timeoutMs / 1000);
    config.timeout = { seconds: whole, nanos: Math.round((timeoutMs - whole * 1000) * 1e6) };
  }
  const retryableStatusCodes = retry.maxAttempts > 1 ? retryableStatuses(policy, repeats) : [];
  if (retryableStatusCodes.length === 0) return config;
  // The waits of a function are told after each attempt, by the gate.
  const { baseMs, maxMs } = typeof retry.backoff === 'function' ? defaultBackoff : retry.backoff;
  config.retryPolicy = {
    maxAttempts: Math.min(retry.maxAttempts, attemptsLimit),
    initialBackoff: seconds(baseMs),
    maxBackoff: seconds(maxMs),
    backoffMultiplier: 2,
    retryableStatusCodes,
  };
  return config;
}

const compiled = new WeakMap<RoutePolicy, Readonly<Record<Repeats, MethodConfig>>>();

/** Rules of a route as grpc-js takes them. What it may repeat by them still has to pass the gate. */
export function methodConfigOf(policy: RoutePolicy, repeats: Repeats): MethodConfig {
  let configs = compiled.get(policy);
  if (configs === undefined) {
    configs = {
      anything: build(policy, 'anything'),
      refused: build(policy, 'refused'),
      nothing: build(policy, 'nothing'),
    };
    compiled.set(policy, configs);
  }
  return configs[repeats];
}
