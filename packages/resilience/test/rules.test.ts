import { type ClusterRules, isMeshError } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import {
  checkClusterRules,
  checkRouteRules,
  defaultClusterRules,
  defaultOutlierRules,
  defaultRouteRules,
} from '../src/index.js';

describe('checkClusterRules', () => {
  it('takes the defaults', () => {
    expect(() => checkClusterRules(defaultClusterRules, 'orders')).not.toThrow();
    expect(() => checkRouteRules(defaultRouteRules, 'orders')).not.toThrow();
  });

  const { limits } = defaultClusterRules;
  const slowStart = { windowMs: 10, aggression: 1, minWeightPercent: 10 };
  const outlier = (fields: object): object => ({ outlier: { ...defaultOutlierRules, ...fields } });

  it.each<[string, object]>([
    ['balancer', { balancer: 'sticky' }],
    ['choices', { choices: 1 }],
    ['choices', { choices: 2.5 }],
    ['limits.maxConnections', { limits: { ...limits, maxConnections: 0 } }],
    ['limits.maxPending', { limits: { ...limits, maxPending: -1 } }],
    ['limits.maxRequests', { limits: { ...limits, maxRequests: Number.NaN } }],
    ['panicPercent', { panicPercent: 101 }],
    ['overprovisioning', { overprovisioning: 0.5 }],
    ['retryBudget.capacity', { retryBudget: { capacity: -1, perSuccess: 0 } }],
    ['retryBudget.perSuccess', { retryBudget: { capacity: 1, perSuccess: 2 } }],
    ['retryConcurrency.budgetPercent', { retryConcurrency: { budgetPercent: 101, minRetries: 0 } }],
    ['retryConcurrency.minRetries', { retryConcurrency: { budgetPercent: 1, minRetries: 0.5 } }],
    ['slowStart.windowMs', { slowStart: { ...slowStart, windowMs: 0 } }],
    ['slowStart.aggression', { slowStart: { ...slowStart, aggression: 0 } }],
    ['slowStart.minWeightPercent', { slowStart: { ...slowStart, minWeightPercent: -1 } }],
    ['localityWeights["eu"]', { localityWeights: { eu: -1 } }],
    ['outlier.consecutive5xx', outlier({ consecutive5xx: -1 })],
    ['outlier.consecutiveGatewayErrors', outlier({ consecutiveGatewayErrors: 0.5 })],
    ['outlier.consecutiveLocalErrors', outlier({ consecutiveLocalErrors: -1 })],
    ['outlier.intervalMs', outlier({ intervalMs: 0 })],
    ['outlier.baseEjectionMs', outlier({ baseEjectionMs: 0 })],
    ['outlier.maxEjectionMs', outlier({ maxEjectionMs: 1 })],
    ['outlier.maxEjectionPercent', outlier({ maxEjectionPercent: 101 })],
    ['outlier.failurePercent', outlier({ failurePercent: -1 })],
    ['outlier.failurePercentMinHosts', outlier({ failurePercentMinHosts: 0 })],
    ['outlier.failurePercentMinCalls', outlier({ failurePercentMinCalls: 0 })],
    ['outlier.jitterRatio', outlier({ jitterRatio: 2 })],
    ['outlier.probes', outlier({ probes: 0 })],
  ])('refuses %s out of range, and names it', (name, fields) => {
    const rules: ClusterRules = { ...defaultClusterRules, ...fields };
    let error: unknown;
    try {
      checkClusterRules(rules, 'cluster "orders"');
    } catch (thrown) {
      error = thrown;
    }
    expect(isMeshError(error) && error.code).toBe('INMESH_ERR_CONFIG_INVALID');
    expect(isMeshError(error) && error.message).toContain(`cluster "orders": ${name} is `);
  });
});
