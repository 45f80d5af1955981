import type { MeshConfig } from '@inmesh/config';
import { createTimer, type Logger, MeshError, type Runtime } from '@inmesh/core';
import {
  createDevIdentity,
  createFileIdentity,
  createStaticIdentity,
  type DevIdentityOptions,
  type Environment,
  type IdentitySource,
  type StaticIdentity,
} from '@inmesh/identity';

/** What identities are made of. */
export interface IdentityInputs {
  /** The configuration. */
  readonly config: MeshConfig;
  /** Identity in code. */
  readonly svid?: StaticIdentity | undefined;
  /** Environment: tells production. */
  readonly env: Environment;
  /** Time. */
  readonly runtime: Runtime;
  /** Told about it. */
  readonly logger: Logger;
}

/** What the dev CA needs to know of a configuration. */
export function devOptions({ config, env, runtime, logger }: IdentityInputs): DevIdentityOptions {
  return {
    dir: config.devCaDir,
    trustDomain: config.trustDomain,
    namespace: config.namespace,
    service: config.serviceName,
    ttlMs: config.devCaTtl,
    isForced: config.identity === 'dev',
    env,
    runtime,
    logger,
  };
}

/** Picks the source: code, files, the dev CA. */
export function createIdentitySource(inputs: IdentityInputs): IdentitySource {
  const { config, svid, runtime, logger } = inputs;
  if (svid !== undefined) return createStaticIdentity({ ...svid, runtime, logger });
  const { certFile, keyFile, caFile } = config;
  if (certFile !== undefined && keyFile !== undefined && caFile !== undefined)
    return createFileIdentity({ certFile, keyFile, caFile, runtime, logger });
  return createDevIdentity(devOptions(inputs));
}

/**
 * Waits for something that a start depends on.
 *
 * @throws MeshError `INMESH_ERR_IDENTITY_TIMEOUT` when it takes longer than `timeoutMs`.
 */
export async function waitAtStart(
  ready: (signal: AbortSignal) => Promise<unknown>,
  what: string,
  lastError: () => unknown,
  timeoutMs: number,
  runtime: Runtime,
): Promise<void> {
  const controller = new AbortController();
  const timer = createTimer(() => {
    const cause = lastError();
    const why = cause instanceof Error ? `: ${cause.message}` : '';
    controller.abort(
      new MeshError('INMESH_ERR_IDENTITY_TIMEOUT', `no ${what} within ${timeoutMs} ms${why}`, { cause }),
    );
  });
  // A handle of its own: timers of the runtime do not keep a process alive that has nothing else yet.
  const keepAlive = new MessageChannel();
  keepAlive.port1.ref();
  runtime.arm(timer, timeoutMs);
  try {
    await ready(controller.signal);
  } finally {
    runtime.disarm(timer);
    keepAlive.port1.close();
  }
}
