import {
  type Cluster,
  type Endpoint,
  type RouteRules,
  type Snapshot,
  silentLogger,
  systemRuntime,
  WatchSource,
} from '@inmesh/core';
import {
  type Attempt,
  CallDriver,
  type ClusterState,
  Clusters,
  type DrivenCall,
  type DriverReply,
  defaultClusterRules,
  defaultOutlierRules,
  defaultRetryRules,
  defaultRouteRules,
  type EndpointState,
  outboundDeadlineMs,
  type RoutedRequest,
  Router,
  type Tried,
} from '@inmesh/resilience';

function reply(httpStatus: number): DriverReply {
  return { httpStatus, grpcStatus: undefined, isTrusted: true, header: () => undefined };
}
const good = reply(200);
const bad = reply(503);

/** An attempt that is answered the moment it is sent. */
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
    const { driver, failures } = this.#call;
    driver.onAttemptSent(this);
    driver.onAttemptHead(this, driver.attempts > failures ? good : bad);
    driver.onAttemptEnd(this);
  }

  abort(): void {
    throw new Error('invariant: nothing is cut here');
  }

  discard(): void {
    // Its end comes right after its head.
  }
}

/**
 * A call whose first attempts fail. The null transport is this and {@link NullAttempt}: two objects a call, with no
 * more in them than a driver asks for.
 */
class NullCall implements DrivenCall {
  readonly deadlineMs: number;
  readonly failures: number;
  readonly driver: CallDriver;

  constructor(deadlineMs: number, failures: number, cluster: ClusterState, parts: CallParts) {
    this.deadlineMs = deadlineMs;
    this.failures = failures;
    this.driver = new CallDriver(this, cluster, parts.policy, systemRuntime);
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

  onFailure(error: Error): void {
    throw error;
  }
}

interface CallParts {
  readonly policy: ConstructorParameters<typeof CallDriver>[2];
}

/** Retries are armed, and a deadline is set; a wait before a retry is over at once. */
const rules: RouteRules = {
  ...defaultRouteRules,
  timeoutMs: 5000,
  retry: {
    ...defaultRetryRules,
    conditions: [...defaultRetryRules.conditions, 'retriable-status-codes'],
    statusCodes: [503],
    backoff: { baseMs: 1, maxMs: 1 },
  },
};

/** A cluster as it is by default, except that a retry a call is paid for and that nothing is ejected. */
export function clusterOf(count: number): Cluster {
  const endpoints = new WatchSource<readonly Endpoint[]>();
  endpoints.set(Array.from({ length: count }, (_, i) => ({ host: '127.0.0.1', port: 1024 + i })));
  return {
    name: 'server',
    identities: [],
    endpoints,
    rules: {
      ...defaultClusterRules,
      retryBudget: { capacity: 1000, perSuccess: 1 },
      outlier: {
        ...defaultOutlierRules,
        consecutive5xx: 0,
        consecutiveGatewayErrors: 0,
        consecutiveLocalErrors: 0,
        failurePercent: 100,
        failurePercentMinCalls: 1_000_000,
      },
    },
    routeRules: rules,
  };
}

/** What every call asks for. */
export const request: RoutedRequest = {
  method: 'GET',
  target: '/s1/v1',
  scheme: 'http',
  authority: 'server',
  header: () => undefined,
};

/** Makes calls by the real router, driver, balancer and clock; only sockets are missing. Returns one call. */
export function openNullTransport(endpoints: number, failures: number): () => void {
  const cluster = clusterOf(endpoints);
  const snapshot: Snapshot = {
    version: 1,
    workload: { service: 'client', namespace: 'default', trustDomain: 'dev.local', labels: {} },
    mtls: 'strict',
    clusters: new Map([[cluster.name, cluster]]),
    routes: new Map(),
    policies: [],
  };
  const clusters = new Clusters({ runtime: systemRuntime, logger: silentLogger });
  const router = new Router(() => snapshot, clusters, systemRuntime);
  return () => {
    const routed = router.route(router.nameOf('server') ?? '', request);
    if (routed.kind !== 'forward') throw new Error('invariant: a cluster without a route');
    const { cluster: state, forward } = routed;
    const { timeoutMs } = forward.policy.rules;
    const deadlineMs = outboundDeadlineMs(undefined, timeoutMs, systemRuntime.now());
    const { driver } = new NullCall(deadlineMs, failures, state, forward);
    driver.start();
    // The wheel would fire a little later.
    for (let i = 0; i < failures; i++) driver.onTimer();
    if (state.activeCalls !== 0 || driver.attempts !== failures + 1)
      throw new Error('invariant: a call that has not taken its course');
  };
}
