import type { CallProperties, ChannelCredentials, ClientOptions } from '@grpc/grpc-js';
import { type CallContext, findCluster, type LiveStack, type Runtime, type Snapshot } from '@inmesh/core';
import type { Dialer, IdentitySource } from '@inmesh/identity';
import { registerMeshBalancer } from './balancer.js';
import { type CallOrigin, layersInterceptor, originKey } from './client-call.js';
import { type ClientState, meshOption, nextId, registerState } from './client-registry.js';
import { MeshCredentials } from './credentials.js';
import { meshScheme, registerMeshResolver } from './resolver.js';

/** What {@link createGrpcClient} needs. */
export interface GrpcClientOptions {
  /** Clusters now. */
  readonly snapshot: () => Snapshot;
  /** Calls `listener` when clusters change; returns how to stop. */
  readonly onSnapshot: (listener: () => void) => () => void;
  /** Opens connections. */
  readonly dialer: Dialer;
  /** Who we are. */
  readonly source: IdentitySource;
  /** Layers of outbound calls. */
  readonly stack: LiveStack;
  /** Tells the inbound call that an outbound one is made in. */
  readonly context: CallContext;
  /** Time. */
  readonly runtime: Runtime;
}

/** What a grpc-js client needs to call `mesh:///name`. */
export interface GrpcClient {
  /** mTLS to the identity of the name. */
  credentials(): ChannelCredentials;
  /** Resolver, balancer and layers of this mesh. Options of your own go beside them, not over them. */
  channelOptions(): ClientOptions;
  /** Ends name resolution; channels that are open keep their connections. */
  close(): void;
}

let isRegistered = false;

/** grpc-js keeps resolvers and balancers by name for the whole process; ours find their mesh by channel option. */
function registerOnce(): void {
  if (isRegistered) return;
  isRegistered = true;
  registerMeshResolver();
  registerMeshBalancer();
}

const targetForm = new RegExp(`^${meshScheme}:(?://[^/]*/|/*)(.+)$`);

/** Makes the gRPC client side of a mesh. */
export function createGrpcClient(options: GrpcClientOptions): GrpcClient {
  registerOnce();
  const { snapshot, onSnapshot, dialer, source, runtime, stack, context } = options;
  const state: ClientState = {
    id: nextId(),
    snapshot,
    onSnapshot,
    dialer,
    source,
    runtime,
    entries: new Map(),
  };
  const unregister = registerState(state);
  const credentials = new MeshCredentials(state);
  const interceptor = layersInterceptor(stack);
  const noteOrigin = <Q, R>(properties: CallProperties<Q, R>): CallProperties<Q, R> => {
    // Here runs in the context of the caller; resolver and balancer run in that of whichever call woke them.
    const name = targetForm.exec(properties.channel.getTarget())?.[1];
    const origin: CallOrigin = {
      cluster: name === undefined ? undefined : findCluster(snapshot(), name)?.name,
      parent: context.current(),
    };
    return { ...properties, callOptions: Object.assign({}, properties.callOptions, { [originKey]: origin }) };
  };
  return {
    credentials: () => credentials,
    channelOptions: () => ({
      [meshOption]: state.id,
      'grpc.use_local_subchannel_pool': 1,
      // A proxy of the environment would see plaintext targets it cannot resolve.
      'grpc.enable_http_proxy': 0,
      callInvocationTransformer: noteOrigin,
      interceptors: [interceptor],
    }),
    close: unregister,
  };
}
