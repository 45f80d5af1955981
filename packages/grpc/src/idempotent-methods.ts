import type { ServiceDefinition } from '@grpc/grpc-js';
import { MeshError } from '@inmesh/core';

/**
 * Methods that may reach a handler twice: a path, `/pkg.Service/Method`, or a service definition whose methods say so
 * in their options.
 */
export type IdempotentMethods = readonly (ServiceDefinition | string)[];

const path = /^\/[^/\s]+\/[^/\s]+$/;
const levels: ReadonlySet<unknown> = new Set(['IDEMPOTENT', 'NO_SIDE_EFFECTS', 1, 2]);

/** `idempotency_level` of a method. Definitions of `@grpc/proto-loader` have it; code generators leave it out. */
function isDeclared(method: unknown): boolean {
  if (typeof method !== 'object' || method === null || !('options' in method)) return false;
  const { options } = method;
  if (typeof options !== 'object' || options === null) return false;
  return 'idempotency_level' in options && levels.has(options.idempotency_level);
}

/**
 * Paths of the methods that are declared idempotent.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID` for a text that is no path of a method.
 * @see {@link https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto | MethodOptions.idempotency_level}
 */
export function idempotentPaths(given: IdempotentMethods): ReadonlySet<string> {
  const paths = new Set<string>();
  for (const one of given) {
    if (typeof one === 'string') {
      if (!path.test(one))
        throw new MeshError(
          'INMESH_ERR_CONFIG_INVALID',
          `idempotent: "${one}" is not a path such as /pkg.Service/Method`,
        );
      paths.add(one);
      continue;
    }
    for (const method of Object.values<{ readonly path: string }>(one))
      if (isDeclared(method)) paths.add(method.path);
  }
  return paths;
}
