import {
  type Cluster,
  type ClusterRules,
  type Endpoint,
  MeshError,
  parseSpiffeId,
  type RetryRules,
  type RouteRules,
  type Runtime,
  silentLogger,
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
  defaultRetryRules,
  defaultRouteRules,
  type EndpointState,
  type RoutePolicy,
  routePolicy,
  type Tried,
} from '@inmesh/resilience';

/** Where attempts go: answers them, now or later. */
export type Server = (attempt: SimulatedAttempt) => void;

/** Told how a call ended: its status, or the error. */
export type Ended = (result: MeshError | number, driver: CallDriver) => void;

/** What a simulation changes of the defaults. */
export interface ClientOptions {
  /** Endpoints. @defaultValue 1 */
  readonly endpoints?: number;
  /** Rules of the cluster. */
  readonly cluster?: Partial<ClusterRules>;
  /** Rules of retries. */
  readonly retry?: Partial<RetryRules>;
}

/** A configuration with the defaults, except for what is given. */
export function createCluster(endpoints: readonly Endpoint[], rules: Partial<ClusterRules> = {}): Cluster {
  const source = new WatchSource<readonly Endpoint[]>();
  source.set(endpoints);
  return {
    name: 'simulated',
    identities: [parseSpiffeId('spiffe://dev.local/ns/default/sa/simulated')],
    endpoints: source,
    rules: { ...defaultClusterRules, ...rules },
    routeRules: defaultRouteRules,
  };
}

/** Endpoints with ports from 1. */
export function endpointList(count: number): readonly Endpoint[] {
  return Array.from({ length: count }, (_, i) => ({ host: '10.0.0.1', port: i + 1 }));
}

/** One process that calls one cluster, through the real driver. */
export class Client {
  /** Live state of the cluster. */
  readonly cluster: ClusterState;
  /** Time. */
  readonly runtime: Runtime;
  /** Rules of the route. */
  readonly policy: RoutePolicy;
  /** Where attempts go. */
  readonly server: Server;

  /** @param options - What differs from the defaults. */
  constructor(runtime: Runtime, server: Server, options: ClientOptions = {}) {
    const clusters = new Clusters({ runtime, logger: silentLogger });
    this.runtime = runtime;
    this.server = server;
    this.cluster = clusters.of(createCluster(endpointList(options.endpoints ?? 1), options.cluster));
    const rules: RouteRules = { ...defaultRouteRules, retry: { ...defaultRetryRules, ...options.retry } };
    this.policy = routePolicy(rules);
  }

  /** Makes an idempotent call. */
  call(onEnd: Ended, isRetryOfCaller = false): void {
    new SimulatedCall(this, onEnd, true, isRetryOfCaller).driver.start();
  }

  /** Makes a call that must not be repeated. */
  callOnce(onEnd: Ended): void {
    new SimulatedCall(this, onEnd, false, false).driver.start();
  }
}

/** A call of a {@link Client}. */
class SimulatedCall implements DrivenCall {
  readonly deadlineMs = Number.POSITIVE_INFINITY;
  readonly isReplayable = true;
  readonly isIdempotent: boolean;
  readonly isRetryOfCaller: boolean;
  readonly driver: CallDriver;
  readonly #client: Client;
  readonly #onEnd: Ended;

  constructor(client: Client, onEnd: Ended, isIdempotent: boolean, isRetry: boolean) {
    this.isIdempotent = isIdempotent;
    this.isRetryOfCaller = isRetry;
    this.#client = client;
    this.#onEnd = onEnd;
    this.driver = new CallDriver(this, client.cluster, client.policy, client.runtime);
  }

  createAttempt(endpoint: EndpointState, number: number): SimulatedAttempt {
    return new SimulatedAttempt(this, endpoint, number);
  }

  send(attempt: SimulatedAttempt): void {
    this.#client.server(attempt);
  }

  onFailure(error: MeshError): void {
    this.#onEnd(error, this.driver);
  }

  onAnswer(status: number): void {
    this.#onEnd(status, this.driver);
  }
}

const noHeaders: Readonly<Record<string, string>> = Object.freeze({});

/** An attempt of a {@link Client}; its {@link Server} answers it once. */
export class SimulatedAttempt implements Attempt {
  readonly endpoint: EndpointState;
  /** 1 for the first. */
  readonly number: number;
  startMs = 0;
  hasHead = false;
  before: Tried | undefined = undefined;
  isSent = false;
  isOver = false;
  readonly #call: SimulatedCall;

  /** @param number - 1 for the first. */
  constructor(call: SimulatedCall, endpoint: EndpointState, number: number) {
    this.#call = call;
    this.endpoint = endpoint;
    this.number = number;
  }

  start(): void {
    this.#call.driver.onAttemptSent(this);
    this.#call.send(this);
  }

  abort(reason: MeshError): void {
    this.#call.driver.onAttemptError(this, reason);
  }

  discard(): void {
    this.#call.driver.onAttemptEnd(this);
  }

  /** For the server: the connection breaks. */
  reset(): void {
    if (this.isOver) return;
    this.#call.driver.onAttemptError(
      this,
      new MeshError('INMESH_ERR_CONNECTION_LOST', `the connection to ${this.endpoint.key} was reset`),
    );
  }

  /** For the server: head and last byte at once. Nobody listens if it was cut. */
  answer(httpStatus: number, headers: Readonly<Record<string, string>> = noHeaders): void {
    if (this.isOver) return;
    const { driver } = this.#call;
    const reply: DriverReply = {
      httpStatus,
      grpcStatus: undefined,
      isTrusted: true,
      header: (name) => headers[name],
    };
    if (!driver.onAttemptHead(this, reply)) return;
    driver.onAttemptEnd(this);
    this.#call.onAnswer(httpStatus);
  }
}
