import type { Backoff, BackoffRules } from '@inmesh/core';

/**
 * Wait before a retry: full jitter, uniform in [0, min(base · 2^(retry-1), max)). Envoy's code; its documents say
 * otherwise.
 *
 * @param retry - 1 for the first.
 * @returns Milliseconds.
 */
export function backoffMs(rules: Backoff | BackoffRules, retry: number, random: () => number): number {
  if (typeof rules === 'function') {
    const ms = rules(retry, random);
    // A user's own function decides how long, never whether time runs backwards or stops.
    return Number.isFinite(ms) && ms > 0 ? ms : 0;
  }
  const { baseMs, maxMs } = rules;
  return random() * Math.min(baseMs * 2 ** Math.min(retry - 1, 30), maxMs);
}

const imfDate = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/**
 * Wait that a `Retry-After` header asks for: seconds or a date.
 *
 * @returns Milliseconds; `undefined` if it says nothing that can be read.
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3 | RFC 9110 §10.2.3}
 */
export function retryAfterMs(value: string | undefined, wallMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  if (!imfDate.test(value)) return undefined;
  const atMs = Date.parse(value);
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - wallMs);
}

/** What a `grpc-retry-pushback-ms` trailer asks for: a wait in milliseconds, or to stop. */
export type Pushback = number | 'stop';

/**
 * Reads `grpc-retry-pushback-ms`. What cannot be read stops, as gRPC demands.
 *
 * @see {@link https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback | gRPC A6, pushback}
 */
export function parsePushback(value: string | undefined): Pushback | undefined {
  if (value === undefined) return undefined;
  if (!/^\d{1,10}$/.test(value)) return 'stop';
  const ms = Number(value);
  return ms <= 2_147_483_647 ? ms : 'stop';
}
