import { type experimental, type Metadata, connectivityState as State } from '@grpc/grpc-js';
import {
  type ConnectionFacts,
  createTimer,
  type Endpoint,
  MeshError,
  peerMetadataHeader,
  peerMetadataIdHeader,
  type SpiffeId,
} from '@inmesh/core';
import type { CountingSocket } from '@inmesh/identity';
import type { ClusterState, EndpointState } from '@inmesh/resilience';
import type { AttemptPeer } from './attempt-peer.js';
import { type ClientState, type EndpointEntry, nextId } from './client-registry.js';
import { type ConnectionUse, ReconnectPause } from './reconnect-pause.js';

type Subchannel = experimental.SubchannelInterface;

/** Retire connections when this part of their certificates' remaining life has passed. */
const retireAt = 0.5;
const longestTimerMs = 86_400_000;
/** Longest wait for a connection, in milliseconds, unless it is configured. */
const defaultConnectMs = 10_000;

/** What an {@link EndpointSlot} is made of. */
export interface EndpointSlotParts {
  /** Of the mesh. */
  readonly client: ClientState;
  /** Cluster of the endpoint. */
  readonly cluster: ClusterState;
  /** The endpoint. */
  readonly endpoint: EndpointState;
  /** Makes a connection, idle at first. */
  readonly connect: (entry: EndpointEntry) => Subchannel;
  /** Told when a pick may come out otherwise. */
  readonly onChange: () => void;
}

/** One endpoint of one channel: the connection in use, and its successor while that one is made. */
export class EndpointSlot implements EndpointEntry, AttemptPeer {
  readonly id = nextId();
  readonly cluster: string;
  readonly endpoint: Endpoint;
  readonly identities: readonly SpiffeId[];
  readonly #parts: EndpointSlotParts;
  readonly #timer = createTimer(() => this.#replace());
  readonly #pause = new ReconnectPause();
  readonly #reconnect = createTimer(() => this.#wake());
  readonly #patience = createTimer(() => this.#onSlow());
  /** Of the connection that was made last. */
  #use: ConnectionUse;
  /** Whether it waits to hear what the one before was, while calls wait for it. */
  #isOpen = false;
  readonly #listener: experimental.ConnectivityStateListener = (
    subchannel,
    before,
    now,
    _keepalive,
    message,
  ) => {
    if (now === State.IDLE) this.#onIdle(subchannel, before);
    this.#onState(now, message ?? '');
  };
  readonly #stopWatching: () => void;
  #trustEpoch: number | undefined;
  #current: Subchannel;
  #next: Subchannel | undefined;
  #isVerified = false;
  #facts: ConnectionFacts | undefined;
  #socket: CountingSocket | undefined;
  /** What had been read of it when it was silent last. */
  #heardBytes: number | undefined;
  /** Whether the peer of the connection knows who we are, or does not want to. */
  #isIntroduced = false;
  /** Why there is no connection; until there is one again, calls are not kept waiting for it. */
  #failure: MeshError | undefined;
  #lastError: MeshError | undefined;
  /** Whether the connection that is being made counts as failed already. */
  #isGivenUp = false;

  /** @param parts - What it is made of. */
  constructor(parts: EndpointSlotParts) {
    const { client, cluster, endpoint } = parts;
    this.#parts = parts;
    this.cluster = cluster.name;
    this.endpoint = endpoint.endpoint;
    this.identities = cluster.cluster.identities;
    this.#use = this.#pause.onReady(client.runtime.now());
    client.entries.set(this.id, this);
    this.#current = this.#start();
    this.#stopWatching = client.source.subscribe((state) => {
      if (state.kind === 'ready') this.#onTrust(state.value.trustEpoch);
    });
  }

  /** The connection in use. */
  get current(): Subchannel {
    return this.#current;
  }

  /** Whether calls can be sent on it now. */
  get isReady(): boolean {
    return this.#isVerified && this.#current.getConnectivityState() === State.READY;
  }

  /** Whether it is worth waiting for. */
  get isConnecting(): boolean {
    return this.#failure === undefined && !this.isReady;
  }

  /** Why calls cannot be sent on it. */
  get failure(): MeshError | undefined {
    return this.#failure;
  }

  /** What is known of the connection that was made last. */
  get facts(): ConnectionFacts | undefined {
    return this.#facts;
  }

  /** Says in the metadata of a call who we are, unless the peer knows. @returns whether it did */
  introduce(metadata: Metadata): boolean {
    const { introductions } = this.#parts.client;
    if (this.#isIntroduced || introductions === undefined) return false;
    for (const [name, value] of introductions.own) metadata.set(name, value);
    return true;
  }

  /** Takes who the peer is out of the metadata of its reply. */
  hear(metadata: Metadata): void {
    const text = metadata.get(peerMetadataHeader)[0];
    const id = metadata.get(peerMetadataIdHeader)[0] ?? '';
    // Whoever does not answer an introduction has no use for it.
    this.#isIntroduced = true;
    if (text === undefined) return;
    metadata.remove(peerMetadataHeader);
    metadata.remove(peerMetadataIdHeader);
    if (this.#facts === undefined) return;
    this.#parts.client.introductions?.hear(this.#facts, id.toString(), text.toString());
    this.#isIntroduced = this.#facts.introduction?.isLasting === true;
  }

  onConnected(facts: ConnectionFacts | undefined, remainingMs: number, socket: CountingSocket): void {
    this.#facts = facts;
    this.#socket = socket;
    this.#heardBytes = undefined;
    this.#isIntroduced = false;
    this.#isVerified = true;
    this.#parts.client.runtime.arm(
      this.#timer,
      Math.min(Math.max(remainingMs * retireAt, 100), longestTimerMs),
    );
  }

  onFailed(error: MeshError): void {
    this.#lastError = error;
  }

  onStart(): ConnectionUse {
    this.#use.open++;
    return this.#use;
  }

  onAnswer(use: ConnectionUse): void {
    if (this.#pause.onAnswer(use)) this.#decide();
  }

  onEnd(use: ConnectionUse): void {
    if (this.#pause.onStreamEnd(use)) this.#decide();
  }

  /**
   * The time of a call ended before its head came. If that happens twice and not a byte came in between, the connection
   * may be dead without anybody knowing: nghttp2 gives one up after a frame that it does not take, and node:http2 then
   * stops reading. A new one takes over when there is one; calls on the old one go on.
   */
  onSilence(): void {
    const { bytesRead } = this.#socket ?? {};
    if (bytesRead !== undefined && bytesRead === this.#heardBytes) this.#replace();
    this.#heardBytes = bytesRead;
  }

  /** Lets go of its connections; calls on them go on. */
  destroy(): void {
    const { client } = this.#parts;
    client.runtime.disarm(this.#timer);
    client.runtime.disarm(this.#reconnect);
    client.runtime.disarm(this.#patience);
    this.#isOpen = false;
    this.#stopWatching();
    client.entries.delete(this.id);
    this.#drop(this.#current);
    if (this.#next !== undefined) this.#drop(this.#next);
  }

  #start(): Subchannel {
    const subchannel = this.#parts.connect(this);
    this.#parts.cluster.connections++;
    subchannel.ref();
    subchannel.addConnectivityStateListener(this.#listener);
    subchannel.startConnecting();
    return subchannel;
  }

  /** An authority was removed: connections made before serve no new call. */
  #onTrust(trustEpoch: number): void {
    const isFirst = this.#trustEpoch === undefined;
    if (this.#trustEpoch === trustEpoch) return;
    this.#trustEpoch = trustEpoch;
    if (isFirst) return;
    const { runtime } = this.#parts.client;
    runtime.disarm(this.#timer);
    runtime.disarm(this.#reconnect);
    runtime.disarm(this.#patience);
    this.#isOpen = false;
    this.#isGivenUp = false;
    this.#drop(this.#current);
    if (this.#next !== undefined) this.#drop(this.#next);
    this.#next = undefined;
    this.#isVerified = false;
    this.#current = this.#start();
    this.#parts.onChange();
  }

  /** A new connection takes over before the old one's certificate ends; calls on the old one go on. */
  #replace(): void {
    this.#next ??= this.#start();
  }

  /** It ended, or may be made again. */
  #onIdle(subchannel: Subchannel, before: State): void {
    const { runtime } = this.#parts.client;
    const waitMs =
      before === State.READY ? this.#pause.onEnd(this.#use, runtime.now(), () => runtime.random()) : 0;
    if (waitMs === 0) subchannel.startConnecting();
    else this.#wait(waitMs);
  }

  #wait(waitMs: number): void {
    const { client, cluster, endpoint } = this.#parts;
    const { short } = this.#pause;
    this.#isOpen = this.#pause.isOpen;
    // Calls are not kept waiting for it where it is known to be in vain.
    if (short >= 2)
      this.#failure = new MeshError(
        'INMESH_ERR_CONNECTION_LOST',
        `${cluster.name} at ${endpoint.key} ended ${short} connections in a row, each within a second and without an answer`,
        { reached: 'no', retry: 'elsewhere', stackless: true },
      );
    client.runtime.arm(this.#reconnect, Math.ceil(waitMs));
  }

  /** What an earlier connection was is known. */
  #decide(): void {
    const { runtime } = this.#parts.client;
    if (!this.#isOpen) return;
    runtime.disarm(this.#reconnect);
    const waitMs = this.#pause.waitMs(() => runtime.random());
    if (waitMs === 0) this.#wake();
    else this.#wait(waitMs);
    this.#parts.onChange();
  }

  /** The wait is over. */
  #wake(): void {
    this.#isOpen = false;
    for (const one of [this.#current, this.#next])
      if (one?.getConnectivityState() === State.IDLE) one.startConnecting();
  }

  /** Calls are not kept waiting longer: TCP may take minutes to say that nobody is there. It may still be made. */
  #onSlow(): void {
    if (!this.isConnecting) return;
    const { cluster, endpoint } = this.#parts;
    this.#isGivenUp = true;
    this.#fail(
      new MeshError(
        'INMESH_ERR_CONNECT_TIMEOUT',
        `${cluster.name} at ${endpoint.key} was not connected and secured within ${this.#connectMs} ms`,
        { details: { cluster: cluster.name, address: endpoint.key }, stackless: true },
      ),
    );
    this.#parts.onChange();
  }

  get #connectMs(): number {
    return this.#parts.client.connectTimeoutMs ?? defaultConnectMs;
  }

  #onState(now: State, message: string): void {
    if (now === State.CONNECTING && this.isConnecting)
      this.#parts.client.runtime.arm(this.#patience, this.#connectMs);
    if (now === State.READY) this.#use = this.#pause.onReady(this.#parts.client.runtime.now());
    if (now === State.TRANSIENT_FAILURE) this.#onFailure(message);
    // Not compared with the argument: listeners are handed what is inside the object that was made.
    const next = this.#next;
    if (next?.getConnectivityState() === State.READY) {
      const old = this.#current;
      this.#current = next;
      this.#next = undefined;
      this.#drop(old);
    }
    if (this.#current.getConnectivityState() === State.READY) this.#onReady();
    this.#parts.onChange();
  }

  #onReady(): void {
    const { client, cluster, endpoint } = this.#parts;
    client.runtime.disarm(this.#patience);
    this.#isGivenUp = false;
    cluster.onConnected(endpoint);
    this.#lastError = undefined;
    this.#failure = this.#isVerified
      ? undefined
      : new MeshError(
          'INMESH_ERR_GRPC_CHANNEL',
          'a mesh:/// channel needs mesh.grpc.credentials() of its own mesh',
        );
  }

  #onFailure(message: string): void {
    const { cluster, endpoint } = this.#parts;
    const error =
      this.#lastError ??
      new MeshError(
        'INMESH_ERR_CONNECT_FAILED',
        `cannot connect to ${cluster.name} at ${endpoint.key}: ${message}`,
        { stackless: true },
      );
    this.#lastError = undefined;
    if (this.#isGivenUp) this.#failure = error;
    else this.#fail(error);
    this.#isGivenUp = false;
  }

  #fail(error: MeshError): void {
    const { client, cluster, endpoint } = this.#parts;
    client.runtime.disarm(this.#patience);
    this.#failure = error;
    cluster.onResult(endpoint, 'local-error', undefined, client.runtime.now());
    // Names may resolve to others by now.
    cluster.onUnreachable();
  }

  #drop(subchannel: Subchannel): void {
    subchannel.removeConnectivityStateListener(this.#listener);
    this.#parts.cluster.connections--;
    subchannel.unref();
  }
}
