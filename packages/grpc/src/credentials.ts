import type { Socket } from 'node:net';
import { CallCredentials, ChannelCredentials, type ChannelOptions, experimental } from '@grpc/grpc-js';
import { createTimer, MeshError, type Runtime } from '@inmesh/core';
import { clientAlpn, connectionFacts } from '@inmesh/identity';
import { endpointKey } from '@inmesh/resilience';
import { type ClientState, type EndpointEntry, endpointOption, stateOf } from './client-registry.js';

type SecureConnector = experimental.SecureConnector;

/** Longest wait for the first frame of a server, in milliseconds. gRPC, connection backoff: MIN_CONNECT_TIMEOUT. */
const settingsMs = 20_000;

/** Gives up a connection whose server shakes hands and then says nothing: grpc-js would wait for ever. */
function boundSilence(socket: Socket, entry: EndpointEntry, runtime: Runtime): void {
  const timer = createTimer(() => {
    if (socket.bytesRead > 0) return;
    const text = `${entry.cluster} at ${endpointKey(entry.endpoint)} did not begin to speak HTTP/2 within ${settingsMs} ms`;
    entry.onFailed(new MeshError('INMESH_ERR_CONNECT_FAILED', text, { stackless: true }));
    socket.destroy();
  });
  runtime.arm(timer, settingsMs);
  socket.once('close', () => runtime.disarm(timer));
}

/** TLS by our own dialer: the certificate in force, the identity expected, checked inside the handshake. */
class MeshConnector implements SecureConnector {
  readonly #state: ClientState;
  readonly #entry: EndpointEntry | undefined;
  readonly #callCredentials: CallCredentials;

  constructor(state: ClientState, entry: EndpointEntry | undefined, callCredentials: CallCredentials) {
    this.#state = state;
    this.#entry = entry;
    this.#callCredentials = callCredentials;
  }

  connect(socket: Socket): Promise<experimental.SecureConnectResult> {
    const entry = this.#entry;
    if (entry === undefined) {
      return Promise.reject(
        new MeshError(
          'INMESH_ERR_GRPC_CHANNEL',
          'mesh credentials secure mesh:/// targets only, made with channelOptions() of the same mesh',
        ),
      );
    }
    const { cluster, endpoint, identities } = entry;
    const { source, runtime, dialer } = this.#state;
    return new Promise((resolve, reject) => {
      dialer.secure(
        socket,
        {
          expect: identities,
          alpn: clientAlpn.h2,
          cluster,
          address: endpointKey(endpoint),
        },
        (error, secured) => {
          if (secured === undefined) {
            if (error !== undefined) entry.onFailed(error);
            reject(error ?? new Error('no connection'));
            return;
          }
          const own = source.state.kind === 'ready' ? source.state.value.svid.notAfterMs : 0;
          const facts = connectionFacts(secured);
          entry.onConnected(facts, Math.min(own, facts?.peer?.notAfterMs ?? 0) - runtime.wallMs(), secured);
          boundSilence(secured, entry, runtime);
          resolve({ socket: secured, secure: true });
        },
      );
    });
  }

  waitForReady(): Promise<void> {
    return Promise.resolve();
  }

  getCallCredentials(): CallCredentials {
    return this.#callCredentials;
  }

  destroy(): void {
    // The dialer belongs to the mesh.
  }
}

/** Channel credentials of one mesh. */
export class MeshCredentials extends ChannelCredentials {
  readonly #state: ClientState;

  /** @param state - Of the mesh. */
  constructor(state: ClientState) {
    super();
    this.#state = state;
  }

  _isSecure(): boolean {
    return true;
  }

  _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  _createSecureConnector(
    _target: unknown,
    options: ChannelOptions,
    callCredentials?: CallCredentials,
  ): SecureConnector {
    const id: unknown = options[endpointOption];
    const isOurs = stateOf(options) === this.#state;
    const entry = isOurs && typeof id === 'number' ? this.#state.entries.get(id) : undefined;
    return new MeshConnector(this.#state, entry, callCredentials ?? CallCredentials.createEmpty());
  }
}
