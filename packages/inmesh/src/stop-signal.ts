import { constants } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import type { Logger } from '@inmesh/core';

const signal = 'SIGTERM';

/** What is drained before the process ends. */
export interface Drained {
  /** Drains it. */
  close(): Promise<void>;
}

/** The meshes of this process that a signal closes. One listener for all of them, while there is one. */
const meshes = new Map<Drained, Logger>();
let isStopping = false;

/** Whether somebody else decides when this process ends. */
function hasOtherListeners(): boolean {
  return process.listenerCount(signal) > (process.listeners(signal).includes(onSignal) ? 1 : 0);
}

function onSignal(): void {
  const isOurs = !hasOtherListeners();
  if (isStopping) {
    if (isOurs) process.exit(128 + constants.signals[signal]);
    return;
  }
  isStopping = true;
  for (const logger of meshes.values())
    if (isOurs) logger.info({ signal }, 'draining');
    else logger.info({ signal }, 'draining; the exit is left to the other listeners of the signal');
  void drainAll().then(() => {
    if (isOurs && !hasOtherListeners()) process.exit();
  });
}

async function drainAll(): Promise<void> {
  const closing = [...meshes].map(async ([mesh, logger]) => {
    try {
      await mesh.close();
    } catch (error) {
      logger.error({ error }, 'the mesh did not close');
    }
  });
  await Promise.all(closing);
}

/**
 * Drains `mesh` when the process gets SIGTERM, and then ends the process with its `process.exitCode`; a second SIGTERM
 * ends it at once. Where the application, or a library of its, listens for SIGTERM too, the mesh is drained and the
 * exit is theirs. Signals reach the main thread alone: elsewhere this does nothing.
 *
 * @returns Lets go of the mesh.
 */
export function drainOnSignal(mesh: Drained, logger: Logger): () => void {
  if (!isMainThread) return () => {};
  // First in line: listeners of `once` are gone when their turn has come, and must be seen.
  if (meshes.size === 0 && !isStopping) process.prependListener(signal, onSignal);
  meshes.set(mesh, logger);
  return () => {
    meshes.delete(mesh);
    // While the process is stopping, a second signal is still ours.
    if (meshes.size === 0 && !isStopping) process.removeListener(signal, onSignal);
  };
}
