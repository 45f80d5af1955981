import {
  type AttemptTrace,
  type ConnectionFacts,
  type IntroductionLine,
  type Introductions,
  MeshError,
  peerMetadataHeader,
  peerMetadataIdHeader,
  type Runtime,
} from '@inmesh/core';
import {
  type CountingSocket,
  clientAlpn,
  connectionFacts,
  type Dialer,
  type IdentitySource,
} from '@inmesh/identity';
import type { ClusterState, DriverReply, EndpointState } from '@inmesh/resilience';
import { type buildConnector, Client, type Dispatcher } from 'undici';
import { InterimReplies } from './interim-replies.js';

/** What pools are made with. */
export interface PoolOptions {
  /** Opens connections. */
  readonly dialer: Dialer;
  /** Who we are. */
  readonly source: IdentitySource;
  /** Connections to one endpoint. */
  readonly connections: number;
  /** Introduces us to peers. @defaultValue nobody is introduced */
  readonly introductions?: Introductions | undefined;
  /** Time. */
  readonly runtime: Runtime;
}

const noLines: readonly IntroductionLine[] = [];

/** A request that wants a connection. The attempt implements it, so that waiting costs no object. */
export interface PoolRequest {
  /** Makes what undici is asked to send; called once, when there is a connection. */
  prepare(): Dispatcher.DispatchOptions;
  /** Its trace, if somebody traces. */
  readonly trace: AttemptTrace | undefined;
  /** Whom undici tells. */
  readonly handler: Dispatcher.DispatchHandler;
  /** The connection it got; set by the pool. */
  connection: PooledConnection | undefined;
  /** It could not be sent. */
  onRefused(error: MeshError): void;
}

/** Idle connections to mesh peers live this long, in milliseconds; less where the server says so. */
const keepAliveMs = 60_000;

type OnConnected = Parameters<buildConnector.connector>[1];

/** What undici says of a connection that the peer ended: `Connection: close` on a reply, or a FIN. */
const closedByPeer = /^(?:reset|other side closed)$/;

/** One connection, or the place of one: undici opens it anew when it was lost. */
export class PooledConnection {
  readonly client: Client;
  /** The connection in use, once there was one. */
  socket: CountingSocket | undefined = undefined;
  /** What undici must not see of it. */
  replies: InterimReplies | undefined = undefined;
  /** Whether the peer at its other end knows who we are, or does not want to. */
  isIntroduced = false;
  isBusy = false;
  /** Ends the dial, as long as there is one. */
  cancelDial: (() => void) | undefined = undefined;
  /** Whether the request that it is opened for is gone. Another one may still use it. */
  isUnwanted = false;
  /** When it must not be used anymore, on the monotonic clock. */
  retireAtMs = Number.POSITIVE_INFINITY;

  constructor(client: Client) {
    this.client = client;
  }

  /** What is known of the connection in use. */
  get facts(): ConnectionFacts | undefined {
    return connectionFacts(this.socket);
  }
}

/**
 * Connections to one endpoint under one identity. The one used last is used first, so that no more are kept warm
 * than are needed; further requests wait in order. Connections retire at half of what is left of their certificates.
 *
 * Not undici's `Pool`: that binds a request to a connection that is still being opened although another is free by
 * now, has no bound on who waits, and cannot let go of one connection.
 */
export class ConnectionPool {
  /** Where they lead. */
  readonly endpoint: EndpointState;
  /** Name of the cluster. */
  readonly cluster: string;
  readonly #options: PoolOptions;
  readonly #state: ClusterState;
  readonly #all = new Set<PooledConnection>();
  /** Stack. */
  readonly #idle: PooledConnection[] = [];
  /** In the order of their arrival. */
  readonly #waiting = new Set<PoolRequest>();
  #isClosing = false;
  readonly #onEmpty: (() => void)[] = [];

  /** @param state - Counts connections and requests that wait. */
  constructor(options: PoolOptions, state: ClusterState, endpoint: EndpointState) {
    this.#options = options;
    this.#state = state;
    this.cluster = state.name;
    this.endpoint = endpoint;
  }

  /**
   * Sends a request, now or when a connection is free.
   *
   * @throws MeshError `INMESH_ERR_OVERFLOW`, `INMESH_ERR_CLOSED`
   */
  send(request: PoolRequest): void {
    if (this.#isClosing)
      throw new MeshError('INMESH_ERR_CLOSED', `the connections to ${this.endpoint.key} are closing`, {
        stackless: true,
      });
    const connection = this.#takeIdle() ?? this.#open();
    if (connection !== undefined) this.#run(connection, request);
    else this.#enqueue(request);
  }

  /** What a request adds to introduce us to the peer of its connection. */
  introduce({ isIntroduced }: PooledConnection): readonly IntroductionLine[] {
    return isIntroduced ? noLines : (this.#options.introductions?.own ?? noLines);
  }

  /** The head of a reply to a request that introduced us. */
  hear(connection: PooledConnection, reply: DriverReply): void {
    const text = reply.header(peerMetadataHeader);
    const { facts } = connection;
    // Whoever does not answer it has no use for it.
    connection.isIntroduced = true;
    if (text === undefined || facts === undefined) return;
    this.#options.introductions?.hear(facts, reply.header(peerMetadataIdHeader) ?? '', text);
    connection.isIntroduced = facts.introduction?.isLasting === true;
  }

  /** A request has had its last event: its connection is free. */
  release(connection: PooledConnection): void {
    if (!connection.isBusy) return;
    connection.isBusy = false;
    const next = this.#takeWaiting();
    const isSpent = this.#isClosing || this.#options.runtime.now() >= connection.retireAtMs;
    // Opened before the spent one goes: a pool that is emptied counts as closed.
    const free = isSpent ? (next === undefined ? undefined : this.#openOne()) : connection;
    if (isSpent) this.#drop(connection);
    if (free === undefined) return;
    if (next === undefined) this.#idle.push(free);
    else this.#run(free, next);
  }

  /** A request that waits for a connection, or for one to be opened, does not want one anymore. */
  giveUp(request: PoolRequest): void {
    if (this.#waiting.delete(request)) this.#state.pending--;
    if (request.connection !== undefined) request.connection.isUnwanted = true;
  }

  /** Connections that wait for work are closed: the endpoint said that it goes away. */
  closeIdle(): void {
    for (const connection of this.#idle.splice(0)) this.#drop(connection);
  }

  /** Refuses further requests; ends when those under way have. */
  close(): Promise<void> {
    this.#isClosing = true;
    this.closeIdle();
    for (const { isUnwanted, cancelDial } of this.#all) if (isUnwanted) cancelDial?.();
    if (this.#all.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onEmpty.push(resolve));
  }

  /** Cuts everything. */
  async destroy(error: Error): Promise<void> {
    this.#isClosing = true;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.#state.pending -= waiting.length;
    const reason =
      error instanceof MeshError
        ? error
        : new MeshError('INMESH_ERR_CLOSED', error.message, { cause: error });
    for (const request of waiting) request.onRefused(reason);
    const all = [...this.#all];
    for (const connection of all) this.#forget(connection);
    await Promise.all(all.map((connection) => connection.client.destroy(error)));
  }

  #takeIdle(): PooledConnection | undefined {
    const nowMs = this.#idle.length === 0 ? 0 : this.#options.runtime.now();
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (nowMs < connection.retireAtMs) return connection;
      this.#drop(connection);
    }
    return undefined;
  }

  #run(connection: PooledConnection, request: PoolRequest): void {
    connection.isBusy = true;
    connection.isUnwanted = false;
    request.connection = connection;
    const send = (): void => void connection.client.dispatch(request.prepare(), request.handler);
    if (request.trace === undefined) send();
    else request.trace.run(send);
  }

  #enqueue(request: PoolRequest): void {
    const refusal = this.#state.queue();
    if (refusal !== undefined) throw refusal;
    this.#waiting.add(request);
  }

  #takeWaiting(): PoolRequest | undefined {
    for (const request of this.#waiting) {
      this.#waiting.delete(request);
      this.#state.pending--;
      return request;
    }
    return undefined;
  }

  /** Opens a connection if the limits allow one more; each endpoint may always have one. */
  #open(): PooledConnection | undefined {
    const { maxConnections } = this.#state.rules.limits;
    const isOver = this.#all.size >= this.#options.connections || this.#state.connections >= maxConnections;
    return isOver && this.#all.size > 0 ? undefined : this.#openOne();
  }

  #openOne(): PooledConnection {
    const client = new Client(`http://${this.cluster}`, {
      pipelining: 1,
      keepAliveTimeout: keepAliveMs,
      // The driver bounds the wait for a head.
      headersTimeout: 0,
      // Streams may be silent as long as they like; undici would cut them after five minutes.
      bodyTimeout: 0,
      connect: (_options, done) => this.#dial(connection, done),
    });
    const connection: PooledConnection = new PooledConnection(client);
    client.on('disconnect', (_url, _targets, error) => this.#onDisconnect(connection, error));
    this.#all.add(connection);
    this.#state.connections++;
    return connection;
  }

  #dial(connection: PooledConnection, done: OnConnected): void {
    const { host, port } = this.endpoint.endpoint;
    const { name, identities } = this.#state.cluster;
    const cancel = this.#options.dialer.dial(
      { host, port, expect: identities, alpn: clientAlpn.http1, cluster: name },
      (error, socket) => {
        connection.cancelDial = undefined;
        if (socket === undefined) done(error ?? new Error('no connection'), null);
        else {
          connection.socket = socket;
          connection.replies = new InterimReplies(socket);
          this.#limitLife(connection, socket);
          done(null, socket);
        }
      },
    );
    const cancelDial = (): void => {
      connection.cancelDial = undefined;
      cancel();
      done(new MeshError('INMESH_ERR_CLOSED', `the connections to ${this.endpoint.key} are closing`), null);
    };
    connection.cancelDial = cancelDial;
  }

  /** Half of what is left of the shorter certificate: one that is cut at its end would take a request with it. */
  #limitLife(connection: PooledConnection, socket: unknown): void {
    const { source, runtime } = this.#options;
    const peerEndMs = connectionFacts(socket)?.peer?.notAfterMs ?? Number.POSITIVE_INFINITY;
    const ownEndMs = source.state.kind === 'ready' ? source.state.value.svid.notAfterMs : 0;
    const leftMs = Math.min(peerEndMs, ownEndMs) - runtime.wallMs();
    connection.retireAtMs = runtime.now() + Math.max(1, leftMs / 2);
  }

  #onDisconnect(connection: PooledConnection, error: Error): void {
    connection.retireAtMs = Number.POSITIVE_INFINITY;
    connection.isIntroduced = false;
    if (!connection.isBusy) {
      const place = this.#idle.indexOf(connection);
      if (place !== -1) this.#idle.splice(place, 1);
      this.#drop(connection);
    }
    // It drains, or is gone: a request on another connection that waits for work could meet its end.
    if (closedByPeer.test(error.message)) this.closeIdle();
  }

  #drop(connection: PooledConnection): void {
    this.#forget(connection);
    connection.client.close().catch(() => {});
  }

  #forget(connection: PooledConnection): void {
    if (!this.#all.delete(connection)) return;
    this.#state.connections--;
    if (this.#all.size > 0) return;
    for (const wake of this.#onEmpty.splice(0)) wake();
  }
}
