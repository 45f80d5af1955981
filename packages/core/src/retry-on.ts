import type { RetryCondition } from './traffic.js';

/** Every condition, for configuration. */
export const retryConditions: readonly RetryCondition[] = Object.freeze([
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'refused-stream',
  'retriable-4xx',
  'retriable-status-codes',
  'retriable-headers',
  'envoy-ratelimited',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]);

/** Istio's current default, and `reset`, which holds for idempotent calls only. */
export const defaultRetryConditions: readonly RetryCondition[] = Object.freeze([
  'connect-failure',
  'refused-stream',
  'unavailable',
  'cancelled',
  'reset',
  'retriable-status-codes',
]);

/** What a `retry_on` text names. */
export interface RetryOn {
  /** Conditions. */
  readonly conditions: readonly RetryCondition[];
  /** Numbers among them: HTTP statuses, which imply `retriable-status-codes`. Istio. */
  readonly statusCodes: readonly number[];
}

/**
 * Reads `retryOn` as Istio does: conditions and HTTP statuses, separated by commas.
 *
 * @throws Error naming the word that is neither.
 */
export function parseRetryOn(text: string): RetryOn {
  const conditions = new Set<RetryCondition>();
  const statusCodes = new Set<number>();
  for (const word of text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '')) {
    if (/^\d+$/.test(word)) {
      const status = Number(word);
      if (status < 200 || status > 599) throw new Error(`${word} is no HTTP status from 200 to 599`);
      statusCodes.add(status);
      conditions.add('retriable-status-codes');
      continue;
    }
    const condition = retryConditions.find((one) => one === word);
    if (condition === undefined)
      throw new Error(`"${word}" is no retry condition; there are ${retryConditions.join(', ')}`);
    conditions.add(condition);
  }
  return Object.freeze({
    conditions: Object.freeze([...conditions]),
    statusCodes: Object.freeze([...statusCodes]),
  });
}
