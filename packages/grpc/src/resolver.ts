import { type ChannelOptions, experimental, Metadata, status } from '@grpc/grpc-js';
import { findCluster } from '@inmesh/core';
import { type ClientState, stateOf } from './client-registry.js';

/** Scheme of mesh targets: `mesh:///orders`. */
export const meshScheme = 'mesh';
/** Name of our balancer in service configs. */
export const balancerName = 'inmesh_round_robin';

const { statusOrFromError, statusOrFromValue } = experimental;

function fault(code: status, details: string): ReturnType<typeof statusOrFromError> {
  return statusOrFromError({ code, details, metadata: new Metadata() });
}

/** Resolves the name of a cluster to its endpoints, of the mesh that the channel options name. */
class MeshResolver implements experimental.Resolver {
  readonly #name: string;
  readonly #listener: experimental.ResolverListener;
  readonly #state: ClientState | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(
    target: experimental.GrpcUri,
    listener: experimental.ResolverListener,
    options: ChannelOptions,
  ) {
    this.#name = target.path;
    this.#listener = listener;
    this.#state = stateOf(options);
  }

  updateResolution(): void {
    this.#unsubscribe ??= this.#state?.onSnapshot(() => this.#report());
    // grpc-js does not expect an answer before it has been given the resolver.
    process.nextTick(() => this.#report());
  }

  destroy(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
  }

  static getDefaultAuthority(target: experimental.GrpcUri): string {
    return target.path;
  }

  #report(): void {
    const name = this.#name;
    if (this.#state === undefined) {
      this.#fail(
        status.FAILED_PRECONDITION,
        `INMESH_ERR_GRPC_CHANNEL: the channel to mesh:///${name} was made without mesh.grpc.channelOptions(), or its mesh is closed`,
      );
      return;
    }
    const cluster = findCluster(this.#state.snapshot(), name);
    if (cluster === undefined) {
      const variable = name.toUpperCase().replaceAll('-', '_').replaceAll('.', '__');
      this.#fail(
        status.UNAVAILABLE,
        `INMESH_ERR_NO_ENDPOINT: mesh:///${name} is not configured; set INMESH_UPSTREAM_${variable}`,
      );
      return;
    }
    const endpoints = cluster.endpoints.map(({ host, port }) => ({ addresses: [{ host, port }] }));
    const config = statusOrFromValue({
      methodConfig: [],
      loadBalancingConfig: [{ [balancerName]: { cluster: cluster.name } }],
    });
    this.#listener(
      statusOrFromValue(endpoints),
      {},
      config as Parameters<experimental.ResolverListener>[2],
      '',
    );
  }

  #fail(code: status, details: string): void {
    this.#listener(fault(code, details) as Parameters<experimental.ResolverListener>[0], {}, null, '');
  }
}

/** Makes `mesh:///` known to grpc-js; once per process. */
export function registerMeshResolver(): void {
  experimental.registerResolver(meshScheme, MeshResolver);
}
