import type { ReplyClass } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import { type DriverReply, defaultRouteRules, routePolicy } from '../src/index.js';
import { isFine, judge } from '../src/judgement.js';
import { createCluster, createState } from './support.js';

const { state } = createState(createCluster([]));
const reply = (httpStatus: number): DriverReply => ({
  httpStatus,
  grpcStatus: undefined,
  isTrusted: true,
  header: () => undefined,
});

describe('judge', () => {
  const policy = routePolicy({
    ...defaultRouteRules,
    retry: {
      ...defaultRouteRules.retry,
      conditions: ['retriable-status-codes'],
      statusCodes: [299, 429, 500, 503],
    },
  });

  it.each([
    [200, 'ok', false, true],
    [299, 'ok', true, false],
    [404, 'ok', false, true],
    [428, 'ok', false, true],
    [429, 'unknown', true, false],
    [499, 'ok', false, true],
    [500, 'error', true, false],
    [501, 'error', false, false],
    [502, 'gateway-error', false, false],
    [503, 'gateway-error', true, false],
    [504, 'gateway-error', false, false],
    [505, 'error', false, false],
  ] as const)('says of %d: %s, retryable %s, fine %s', (httpStatus, result, isRetryable, fine) => {
    const judgement = judge(reply(httpStatus), policy, state);
    const isPenalized = result !== 'ok';
    expect(judgement).toEqual({ result, isRetryable, isPenalized, isClassified: false });
    expect(isFine(judgement)).toBe(fine);
  });

  it.each<[ReplyClass, string, boolean, boolean]>([
    ['success', 'ok', false, true],
    ['failure', 'error', false, false],
    ['retryable', 'error', true, false],
  ])('lets a classifier that says %s decide', (own, result, isRetryable, fine) => {
    const classified = routePolicy({ ...defaultRouteRules, classify: () => own });
    const judgement = judge(reply(own === 'success' ? 500 : 200), classified, state);
    expect(judgement).toEqual({ result, isRetryable, isPenalized: result !== 'ok', isClassified: true });
    expect(isFine(judgement)).toBe(fine);
  });
});
