import { type experimental, type Metadata, status as Status, type StatusObject } from '@grpc/grpc-js';
import { MeshError } from '@inmesh/core';
import {
  type Forwarded,
  grpcAttemptHeader,
  isRetryOfCaller,
  openAttemptLog,
  type RoutedRequest,
} from '@inmesh/resilience';
import { originOf } from './call-origin.js';
import { statusOfAnswer, statusOfError, toMeshError } from './call-status.js';
import { ClientCall } from './client-call.js';
import type { ClientState } from './client-registry.js';
import { ClientRpc } from './client-rpc.js';
import { editMetadata } from './edit-metadata.js';
import { MetadataHeaders } from './metadata-headers.js';
import { methodConfigOf } from './method-config.js';
import { rejectWith, toPickInformation } from './seams.js';

type CallConfig = ReturnType<experimental.ConfigSelector['invoke']>;

/** What routes match of an RPC. */
class RpcRequest implements RoutedRequest {
  readonly method = 'POST';
  readonly scheme = 'https';
  readonly target: string;
  readonly authority: string;
  readonly #metadata: Metadata;

  constructor(target: string, authority: string, metadata: Metadata) {
    this.target = target;
    this.authority = authority;
    this.#metadata = metadata;
  }

  header(name: string): string | undefined {
    return this.#metadata.get(name)[0]?.toString();
  }
}

/** Ends an RPC with a status of ours before anything is sent; grpc-js would replace one in the call's configuration. */
class Refusal implements experimental.Filter {
  readonly #status: StatusObject;

  constructor(status: StatusObject) {
    this.#status = status;
  }

  createFilter(): this {
    return this;
  }

  sendMetadata(): Promise<Metadata> {
    return rejectWith(this.#status);
  }

  receiveMetadata(metadata: Metadata): Metadata {
    return metadata;
  }

  sendMessage<T>(message: T): T {
    return message;
  }

  receiveMessage<T>(message: T): T {
    return message;
  }

  receiveTrailers(status: StatusObject): StatusObject {
    return status;
  }
}

/** What a channel's options say of its RPCs. */
export interface ChannelRules {
  /** Methods that may reach a handler twice. */
  readonly idempotent: ReadonlySet<string>;
  /** Attempts at most, whatever a route says. */
  readonly maxAttempts: number;
}

/** Routes each RPC of a channel, by the configuration in force. It runs in whatever context woke it: it reads none. */
export class MeshConfigSelector implements experimental.ConfigSelector {
  readonly #host: string;
  readonly #state: ClientState;
  readonly #rules: ChannelRules;

  /** @param host - What the channel's target says. */
  constructor(host: string, state: ClientState, rules: ChannelRules) {
    this.#host = host;
    this.#state = state;
    this.#rules = rules;
  }

  invoke(path: string, metadata: Metadata): CallConfig {
    // Relayed by an application that passes on what it was sent: it would say that this is a retry.
    metadata.remove(grpcAttemptHeader);
    try {
      return this.#route(path, metadata);
    } catch (error) {
      return refuse(statusOfError(toMeshError(error)));
    }
  }

  unref(): void {
    // Holds nothing.
  }

  #route(path: string, metadata: Metadata): CallConfig {
    const { router, isClosed } = this.#state;
    if (isClosed) throw new MeshError('INMESH_ERR_CLOSED', 'the mesh is closed', { stackless: true });
    const name = router.nameOf(this.#host) ?? this.#host;
    const routed = router.route(name, new RpcRequest(path, name, metadata));
    if (routed.kind === 'forward') return this.#forward(path, metadata, routed);
    const { reply } = routed;
    if (reply.httpStatus >= 300 && reply.httpStatus < 400)
      throw new MeshError(
        'INMESH_ERR_NO_ROUTE',
        `a route of ${name} redirects ${path}, and gRPC knows no redirects`,
        { status: 'unavailable', stackless: true },
      );
    const grpcMessage = `a route of ${name} answers ${path} with HTTP status ${reply.httpStatus}`;
    return refuse(statusOfAnswer({ kind: 'reply', reply: { grpcMessage, ...reply } }));
  }

  #forward(path: string, metadata: Metadata, { cluster, forward }: Forwarded): CallConfig {
    const { stack, runtime, live, tracing, keepsAttempts } = this.#state;
    editMetadata(metadata, forward.request);
    const origin = originOf(metadata);
    if (origin?.parent !== undefined)
      tracing?.carry(new MetadataHeaders(metadata), origin.parent, origin.trace);
    const { idempotent } = forward.policy.rules;
    const isFinal = this.#rules.maxAttempts <= 1 || isRetryOfCaller(origin?.parent);
    const mayRunTwice = !isFinal && (idempotent ?? this.#rules.idempotent.has(path));
    const methodConfig = methodConfigOf(
      forward.policy,
      isFinal ? 'nothing' : mayRunTwice ? 'anything' : 'refused',
    );
    const plan = stack.plan({ side: 'client', cluster: cluster.name });
    const call =
      plan.layers.length === 0
        ? undefined
        : new ClientCall({
            plan,
            cluster: cluster.name,
            path,
            metadata,
            origin,
            startedMs: runtime.now(),
            attemptLog: openAttemptLog(keepsAttempts, runtime),
          });
    // Nothing between here and the RPC's own count may throw.
    const refused = cluster.admit();
    if (refused !== undefined) {
      call?.refuse(refused);
      throw refused;
    }
    const rpc = new ClientRpc({
      cluster,
      forward,
      origin,
      maxAttempts: Math.min(methodConfig.retryPolicy?.maxAttempts ?? 1, this.#rules.maxAttempts),
      isFinal: this.#rules.maxAttempts <= 1,
      mayRunTwice,
      waitsForReady: metadata.getOptions().waitForReady === true,
      call,
      live,
      runtime,
    });
    return {
      methodConfig,
      pickInformation: toPickInformation(rpc),
      status: Status.OK,
      dynamicFilterFactories: [rpc],
      onCommitted: () => rpc.onCommitted(),
    };
  }
}

function refuse(status: StatusObject): CallConfig {
  return {
    methodConfig: { name: [] },
    pickInformation: {},
    status: Status.OK,
    dynamicFilterFactories: [new Refusal(status)],
  };
}
