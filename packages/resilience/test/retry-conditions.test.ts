import type { RetryCondition, RetryRules } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import {
  defaultRetryRules,
  isIdempotentMethod,
  parseRetryOn,
  RetryPredicate,
  retryConditions,
} from '../src/index.js';
import { reply } from './support.js';

function predicate(conditions: readonly RetryCondition[], rules: Partial<RetryRules> = {}): RetryPredicate {
  return new RetryPredicate({ ...defaultRetryRules, conditions, ...rules });
}

/** Statuses of a list that a condition retries. */
const probed = [200, 301, 400, 404, 409, 429, 499, 500, 501, 502, 503, 504, 599, 600];

describe('RetryPredicate on the head of a reply', () => {
  it.each<[RetryCondition, readonly number[]]>([
    ['5xx', [500, 501, 502, 503, 504, 599]],
    ['gateway-error', [502, 503, 504]],
    ['retriable-4xx', [409]],
    ['reset', []],
    ['connect-failure', []],
    ['refused-stream', []],
    ['reset-before-request', []],
    ['envoy-ratelimited', []],
    ['retriable-headers', []],
    ['retriable-status-codes', []],
  ])('retries on %s the statuses %j', (condition, statuses) => {
    expect(probed.filter((status) => predicate([condition]).matchesReply(reply(status)))).toEqual(statuses);
  });

  it('retries the statuses that are named, and only with the condition that says so', () => {
    const named = { statusCodes: [204, 404, 503] };
    const all = [204, ...probed];
    expect(
      all.filter((one) => predicate(['retriable-status-codes'], named).matchesReply(reply(one))),
    ).toEqual([204, 404, 503]);
    expect(all.filter((one) => predicate(['reset'], named).matchesReply(reply(one)))).toEqual([]);
    expect(predicate(['retriable-status-codes'], named).names(404)).toBe(true);
    expect(predicate(['5xx'], named).names(404)).toBe(false);
  });

  it.each<[RetryCondition, number]>([
    ['cancelled', 1],
    ['deadline-exceeded', 4],
    ['resource-exhausted', 8],
    ['internal', 13],
    ['unavailable', 14],
  ])('retries on %s the gRPC status %i only', (condition, number) => {
    const one = predicate([condition]);
    const matching = Array.from({ length: 17 }, (_, i) => i).filter((status) =>
      one.matchesReply(reply(200, {}, true, status)),
    );
    expect(matching).toEqual([number]);
    expect([...one.grpcStatuses]).toEqual([number]);
    expect(one.matchesReply(reply(200))).toBe(false);
  });

  it('lets rate limiting decide alone, before any other condition', () => {
    const limited = reply(503, { 'x-envoy-ratelimited': 'true' });
    expect(predicate(['5xx', 'gateway-error']).matchesReply(limited)).toBe(false);
    expect(
      predicate(['retriable-status-codes'], { statusCodes: [429] }).matchesReply(
        reply(429, { 'x-envoy-ratelimited': 'true' }),
      ),
    ).toBe(false);
    expect(predicate(['envoy-ratelimited']).matchesReply(limited)).toBe(true);
    expect(predicate(['envoy-ratelimited']).matchesReply(reply(429))).toBe(false);
    const limitedGrpc = reply(200, { 'x-envoy-ratelimited': 'true' }, true, 14);
    expect(predicate(['unavailable']).matchesReply(limitedGrpc)).toBe(false);
    expect(predicate(['envoy-ratelimited']).matchesReply(limitedGrpc)).toBe(true);
  });

  it('retries on the headers that are named, any one, also under 200', () => {
    const one = predicate(['retriable-headers'], {
      replyHeaders: [
        { name: 'X-Try-Again', present: true },
        { name: 'x-state', exact: 'moving' },
      ],
    });
    expect(one.matchesReply(reply(200, { 'x-try-again': '' }))).toBe(true);
    expect(one.matchesReply(reply(404, { 'x-state': 'moving' }))).toBe(true);
    expect(one.matchesReply(reply(404, { 'x-state': 'moved' }))).toBe(false);
    expect(one.matchesReply(reply(500))).toBe(false);
  });
});

describe('RetryPredicate on broken attempts', () => {
  it.each<[RetryCondition, boolean, boolean, boolean]>([
    ['5xx', true, true, true],
    ['gateway-error', true, true, true],
    ['reset', true, true, true],
    ['connect-failure', false, true, false],
    ['reset-before-request', false, true, false],
    ['refused-stream', false, false, true],
    ['retriable-4xx', false, false, false],
    ['unavailable', false, false, false],
  ])('takes %s as reset %s, connect failure %s, refused %s', (condition, reset, connect, refused) => {
    const { onReset, onConnectFailure, onRefused } = predicate([condition]);
    expect([onReset, onConnectFailure, onRefused]).toEqual([reset, connect, refused]);
  });
});

describe('parseRetryOn', () => {
  it('reads conditions and statuses as Istio does', () => {
    expect(parseRetryOn('connect-failure, refused-stream,503,  504 ,')).toEqual({
      conditions: ['connect-failure', 'refused-stream', 'retriable-status-codes'],
      statusCodes: [503, 504],
    });
    expect(parseRetryOn('')).toEqual({ conditions: [], statusCodes: [] });
    expect(parseRetryOn('503,503,retriable-status-codes')).toEqual({
      conditions: ['retriable-status-codes'],
      statusCodes: [503],
    });
  });

  it('knows every condition', () => {
    expect(parseRetryOn(retryConditions.join(',')).conditions).toEqual(retryConditions);
  });

  it.each(['sometimes', '5XX', '99', '600', '503.5', '-1', 'constructor'])('refuses "%s"', (word) => {
    expect(() => parseRetryOn(word)).toThrow(word);
  });
});

describe('isIdempotentMethod', () => {
  it('holds for the methods of RFC 9110 and QUERY', () => {
    const methods = [
      'GET',
      'HEAD',
      'OPTIONS',
      'TRACE',
      'PUT',
      'DELETE',
      'QUERY',
      'POST',
      'PATCH',
      'get',
      'FOO',
    ];
    expect(methods.filter(isIdempotentMethod)).toEqual(methods.slice(0, 7));
  });
});
