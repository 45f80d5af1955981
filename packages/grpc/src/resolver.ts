import { type ChannelOptions, experimental, status } from '@grpc/grpc-js';
import { MeshError } from '@inmesh/core';
import { statusOfError } from './call-status.js';
import { type ClientState, idempotentOption, stateOf } from './client-registry.js';
import { MeshConfigSelector } from './config-selector.js';

/** Scheme of mesh targets: `mesh:///orders`. */
const meshScheme = 'mesh';
/** Name of our balancer in service configs. */
export const balancerName = 'inmesh';

const { CHANNEL_ARGS_CONFIG_SELECTOR_KEY, statusOrFromError, statusOrFromValue } = experimental;
const noPaths: ReadonlySet<string> = new Set();

/** Attempts that the options of a channel allow. */
function maxAttempts(options: ChannelOptions): number {
  return options['grpc.enable_retries'] === 0 ? 1 : (options['grpc-node.retry_max_attempts_limit'] ?? 5);
}

/** Puts the routes and clusters of a mesh name, of the mesh that the channel options name, before a channel. */
class MeshResolver implements experimental.Resolver {
  readonly #name: string;
  readonly #listener: experimental.ResolverListener;
  readonly #state: ClientState | undefined;
  readonly #selector: MeshConfigSelector | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(
    target: experimental.GrpcUri,
    listener: experimental.ResolverListener,
    options: ChannelOptions,
  ) {
    this.#name = target.path;
    this.#listener = listener;
    this.#state = stateOf(options);
    const idempotent: unknown = options[idempotentOption];
    if (this.#state !== undefined)
      this.#selector = new MeshConfigSelector(target.path, this.#state, {
        idempotent: idempotent instanceof Set ? idempotent : noPaths,
        maxAttempts: maxAttempts(options),
      });
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
    const host = this.#name;
    if (this.#state === undefined) {
      this.#fail(
        new MeshError(
          'INMESH_ERR_GRPC_CHANNEL',
          `the channel to mesh:///${host} was made without mesh.grpc.channelOptions(), or its mesh is closed`,
        ),
        status.FAILED_PRECONDITION,
      );
      return;
    }
    const name = this.#state.router.nameOf(host);
    if (name === undefined) {
      const variable = host.toUpperCase().replaceAll('-', '_').replaceAll('.', '__');
      this.#fail(
        new MeshError(
          'INMESH_ERR_NO_ENDPOINT',
          `mesh:///${host} is not configured; set INMESH_UPSTREAM_${variable}`,
        ),
        status.UNAVAILABLE,
      );
      return;
    }
    const config = statusOrFromValue({
      methodConfig: [],
      loadBalancingConfig: [{ [balancerName]: { name } }],
    });
    // The balancer takes endpoints from the clusters, which know them before any resolver does.
    this.#listener(
      statusOrFromValue([]),
      { [CHANNEL_ARGS_CONFIG_SELECTOR_KEY]: this.#selector },
      config as Parameters<experimental.ResolverListener>[2],
      '',
    );
  }

  #fail(error: MeshError, code: status): void {
    const list = statusOrFromError(statusOfError(error, code));
    this.#listener(list as Parameters<experimental.ResolverListener>[0], {}, null, '');
  }
}

/** Makes `mesh:///` known to grpc-js; once per process. */
export function registerMeshResolver(): void {
  experimental.registerResolver(meshScheme, MeshResolver);
}
