import {
  type Cluster,
  type ClusterRules,
  type Endpoint,
  type LogFields,
  type Logger,
  MeshError,
  type MeshErrorCode,
  type MeshErrorOptions,
  parseSpiffeId,
  type RetryRules,
  type RouteRules,
  WatchSource,
} from '@inmesh/core';
import { createManualRuntime, type ManualRuntime } from '@inmesh/core/testing';
import {
  type Attempt,
  AttemptLog,
  type BalancerFactory,
  CallDriver,
  ClusterState,
  type DrivenCall,
  type DriverReply,
  defaultClusterRules,
  defaultOutlierRules,
  defaultRetryRules,
  defaultRouteRules,
  EndpointState,
  routePolicy,
  type Tried,
} from '../src/index.js';

export function endpoint(port: number, fields: Partial<Endpoint> = {}): Endpoint {
  return { host: '10.0.0.1', port, ...fields };
}

export function endpoints(count: number, fields: Partial<Endpoint> = {}): readonly Endpoint[] {
  return Array.from({ length: count }, (_, i) => endpoint(i + 1, fields));
}

export function watchOf<T>(value: T): WatchSource<T> {
  const source = new WatchSource<T>();
  source.set(value);
  return source;
}

export function createCluster(
  list: readonly Endpoint[] | WatchSource<readonly Endpoint[]>,
  rules: Partial<ClusterRules> = {},
): Cluster {
  return {
    name: 'orders',
    identities: [parseSpiffeId('spiffe://dev.local/ns/default/sa/orders')],
    endpoints: list instanceof WatchSource ? list : watchOf(list),
    rules: { ...defaultClusterRules, ...rules },
    routeRules: defaultRouteRules,
  };
}

export interface LogLine {
  readonly fields: LogFields;
  readonly message: string;
}

export function createLog(): { readonly logger: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const add = (fields: LogFields, message: string): void => void lines.push({ fields, message });
  return { logger: { debug: add, info: add, warn: add, error: add }, lines };
}

export interface TestCluster {
  readonly runtime: ManualRuntime;
  readonly state: ClusterState;
  readonly lines: LogLine[];
}

export function createState(
  cluster: Cluster,
  options: {
    seed?: number;
    locality?: string;
    balancers?: Record<string, BalancerFactory>;
    onUnreachable?: (cluster: string) => void;
  } = {},
): TestCluster {
  const runtime = createManualRuntime({ seed: options.seed ?? 1 });
  const { logger, lines } = createLog();
  const { locality, balancers, onUnreachable } = options;
  const state = new ClusterState(cluster, {
    runtime,
    logger,
    ...(locality === undefined ? {} : { locality }),
    ...(balancers === undefined ? {} : { balancers }),
    ...(onUnreachable === undefined ? {} : { onUnreachable }),
  });
  return { runtime, state, lines };
}

/** Without jitter, so that times can be compared. */
export const steadyOutlier = { ...defaultOutlierRules, jitterRatio: 0 };

export function endpointStates(count: number): readonly EndpointState[] {
  return endpoints(count).map((one) => new EndpointState(`${one.host}:${one.port}`, one, 0));
}

/** Takes an endpoint that must be there. */
export function found<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('nothing there');
  return value;
}

export function countBy<T>(values: Iterable<T>): Map<T, number> {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

export function repeat<T>(times: number, make: (i: number) => T): readonly T[] {
  return Array.from({ length: times }, (_, i) => make(i));
}

export function reply(
  httpStatus: number,
  headers: Readonly<Record<string, string>> = {},
  isTrusted = true,
  grpcStatus?: number,
): DriverReply {
  return { httpStatus, grpcStatus, isTrusted, header: (name) => headers[name] };
}

export function failure(code: MeshErrorCode, options: MeshErrorOptions = {}): MeshError {
  return new MeshError(code, 'scripted', { stackless: true, ...options });
}

/** An attempt that does what a test says. */
export class FakeAttempt implements Attempt {
  startMs = 0;
  hasHead = false;
  before: Tried | undefined = undefined;
  isSent = false;
  isOver = false;
  readonly endpoint: EndpointState;
  readonly number: number;
  abortedWith: MeshError | undefined;
  isDiscarded = false;
  readonly #call: FakeCall;

  constructor(target: EndpointState, number: number, call: FakeCall) {
    this.endpoint = target;
    this.number = number;
    this.#call = call;
  }

  start(): void {
    this.#call.onStart?.(this);
  }

  abort(reason: MeshError): void {
    this.abortedWith = reason;
    this.#call.onAbort?.(this);
    if (this.#call.endsOnAbort) this.fail(reason);
  }

  discard(): void {
    this.isDiscarded = true;
    if (this.#call.endsOnAbort) this.end();
  }

  sent(): this {
    this.#call.driver.onAttemptSent(this);
    return this;
  }

  head(status: number, headers?: Readonly<Record<string, string>>, isTrusted?: boolean): boolean {
    return this.#call.driver.onAttemptHead(this, reply(status, headers, isTrusted));
  }

  end(): void {
    this.#call.driver.onAttemptEnd(this);
  }

  fail(error: MeshError | MeshErrorCode, options?: MeshErrorOptions): void {
    this.#call.driver.onAttemptError(this, typeof error === 'string' ? failure(error, options) : error);
  }
}

export interface CallOptions {
  readonly deadlineMs?: number;
  readonly isReplayable?: boolean;
  readonly isIdempotent?: boolean;
  readonly isRetryOfCaller?: boolean;
  readonly isLogged?: boolean;
  readonly retry?: Partial<RetryRules>;
  readonly route?: Partial<Omit<RouteRules, 'retry'>>;
}

/** A call over a scripted transport. */
export class FakeCall implements DrivenCall {
  deadlineMs: number;
  readonly isReplayable: boolean;
  readonly isIdempotent: boolean;
  readonly isRetryOfCaller: boolean;
  readonly attempts: FakeAttempt[] = [];
  readonly attemptLog: AttemptLog | undefined;
  readonly failures: MeshError[] = [];
  readonly driver: CallDriver;
  /** Runs when an attempt starts. */
  onStart: ((attempt: FakeAttempt) => void) | undefined;
  /** Runs when an attempt is made. */
  onCreate: ((attempt: FakeAttempt) => void) | undefined;
  /** Runs when an attempt is cut. */
  onAbort: ((attempt: FakeAttempt) => void) | undefined;
  /** Whether cutting reports at once, or the test does it later. */
  endsOnAbort = true;

  constructor({ runtime, state }: TestCluster, options: CallOptions = {}) {
    this.deadlineMs = options.deadlineMs ?? Number.POSITIVE_INFINITY;
    this.isReplayable = options.isReplayable ?? true;
    this.isIdempotent = options.isIdempotent ?? true;
    this.isRetryOfCaller = options.isRetryOfCaller ?? false;
    this.attemptLog = options.isLogged === true ? new AttemptLog(runtime) : undefined;
    const rules: RouteRules = {
      ...defaultRouteRules,
      ...options.route,
      retry: { ...defaultRetryRules, backoff: () => 10, ...options.retry },
    };
    this.driver = new CallDriver(this, state, routePolicy(rules), runtime);
  }

  get last(): FakeAttempt {
    return found(this.attempts.at(-1));
  }

  get error(): MeshError {
    return found(this.failures[0]);
  }

  createAttempt(target: EndpointState, number: number): FakeAttempt {
    const attempt = new FakeAttempt(target, number, this);
    this.onCreate?.(attempt);
    this.attempts.push(attempt);
    return attempt;
  }

  onFailure(error: MeshError): void {
    this.attemptLog?.end(error.code);
    this.failures.push(error);
  }

  begin(): this {
    this.driver.start();
    return this;
  }
}

/** Attempts that were counted, `reason result` each. */
export function counted({ state }: TestCluster): readonly string[] {
  return [...state.attemptCounts]
    .flatMap(({ reason = 'first', result, count }) => repeat(count, () => `${reason} ${result}`))
    .toSorted();
}

/** What must be 0 when nothing is in flight. */
export function leftovers({ runtime, state }: TestCluster): Readonly<Record<string, number>> {
  return {
    activeCalls: state.activeCalls,
    activeRetries: state.activeRetries,
    active: state.endpoints.reduce((sum, one) => sum + Math.abs(one.active), 0),
    timers: runtime.armed,
  };
}

export const nothingLeft = { activeCalls: 0, activeRetries: 0, active: 0, timers: 0 };

/** A call to a cluster of its own. */
export interface CallSetup extends CallOptions {
  readonly count?: number;
  readonly rules?: Partial<ClusterRules>;
}

export function createCall({ count = 3, rules, ...options }: CallSetup = {}): {
  readonly cluster: TestCluster;
  readonly call: FakeCall;
} {
  const cluster = createState(createCluster(endpoints(count), rules));
  return { cluster, call: new FakeCall(cluster, options) };
}
