import { type MeshError, type RetryRules, silentLogger, systemRuntime } from '@inmesh/core';
import {
  type Attempt,
  CallDriver,
  type ClusterState,
  Clusters,
  type DrivenCall,
  type DriverReply,
  defaultOutlierRules,
  defaultRetryRules,
  defaultRouteRules,
  type EndpointState,
  type RoutePolicy,
  routePolicy,
  type Tried,
} from '@inmesh/resilience';
import { createCluster, endpointList } from './client.js';
import { cpuMicroseconds, heapBytes } from './measure.js';

const header = (): undefined => undefined;
const fine: DriverReply = { httpStatus: 200, grpcStatus: undefined, isTrusted: true, header };
const failed: DriverReply = { httpStatus: 503, grpcStatus: undefined, isTrusted: true, header };

/** The least that a call and its transport can be: one object for the call, one for each attempt. */
class NullCall implements DrivenCall {
  readonly driver: CallDriver;
  /** Attempts that are still to fail. */
  failures: number;

  constructor(cluster: ClusterState, policy: RoutePolicy, failures: number) {
    this.failures = failures;
    this.driver = new CallDriver(this, cluster, policy, systemRuntime);
  }

  get deadlineMs(): number {
    return Number.POSITIVE_INFINITY;
  }

  get isReplayable(): boolean {
    return true;
  }

  get isIdempotent(): boolean {
    return true;
  }

  get isRetryOfCaller(): boolean {
    return false;
  }

  createAttempt(endpoint: EndpointState): NullAttempt {
    return new NullAttempt(this, endpoint);
  }

  onFailure(error: MeshError): void {
    throw error;
  }
}

class NullAttempt implements Attempt {
  readonly endpoint: EndpointState;
  startMs = 0;
  hasHead = false;
  before: Tried | undefined = undefined;
  isSent = false;
  isOver = false;
  readonly #call: NullCall;

  constructor(call: NullCall, endpoint: EndpointState) {
    this.#call = call;
    this.endpoint = endpoint;
  }

  start(): void {
    const call = this.#call;
    call.driver.onAttemptSent(this);
    if (call.driver.onAttemptHead(this, call.failures-- > 0 ? failed : fine)) call.driver.onAttemptEnd(this);
  }

  abort(): void {
    throw new Error('invariant: nothing is late here');
  }

  discard(): void {
    this.#call.driver.onAttemptEnd(this);
  }
}

function policyOf(retry: Partial<RetryRules>): RoutePolicy {
  return routePolicy({ ...defaultRouteRules, retry: { ...defaultRetryRules, ...retry } });
}

/** CPU in microseconds, and heap in bytes. */
type Cost = readonly [us: number, bytes: number];

/** What a whole call costs, and each attempt beyond its first. */
export function callCosts(): { readonly call: Cost; readonly further: Cost } {
  const clusters = new Clusters({ runtime: systemRuntime, logger: silentLogger });
  const rules = {
    // Counts as always, ejects never: every attempt must find three endpoints.
    outlier: { ...defaultOutlierRules, consecutive5xx: 0, consecutiveGatewayErrors: 0, failurePercent: 0 },
    retryBudget: { capacity: Number.POSITIVE_INFINITY, perSuccess: 0.1 },
  };
  const cluster = clusters.of(createCluster(endpointList(3), rules));
  const once = policyOf({});
  const retried = policyOf({ conditions: ['5xx'], backoff: () => 0 });
  const single = (): void => new NullCall(cluster, once, 0).driver.start();
  const triple = (): void => {
    const { driver } = new NullCall(cluster, retried, 2);
    driver.start();
    // What the timers of the two waits would do.
    driver.onTimer();
    driver.onTimer();
  };
  const costs = (body: () => void): Cost => [cpuMicroseconds(body), heapBytes(body)];
  const one = costs(single);
  const three = costs(triple);
  return { call: one, further: [(three[0] - one[0]) / 2, (three[1] - one[1]) / 2] };
}

/** Microseconds of CPU of a pick, and of pick, start, result and end, at 1,000 endpoints. */
export function pickCosts(): { readonly pick: number; readonly cycle: number } {
  const clusters = new Clusters({ runtime: systemRuntime, logger: silentLogger });
  const cluster = clusters.of(createCluster(endpointList(1000)));
  // A clock of its own: reading the real one costs half of a pick.
  let nowMs = systemRuntime.now();
  const pick = cpuMicroseconds(() => {
    nowMs += 0.01;
    cluster.pick(nowMs);
  }, 50_000);
  const cycle = cpuMicroseconds((i) => {
    nowMs += 0.01;
    const endpoint = cluster.pick(nowMs);
    if (endpoint === undefined) return;
    cluster.onStart(endpoint);
    cluster.onResult(endpoint, 'ok', 5 + (i & 7), nowMs);
    cluster.onEnd(endpoint);
  }, 50_000);
  return { pick, cycle };
}
