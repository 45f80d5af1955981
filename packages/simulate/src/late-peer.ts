import { setTimeout as wait } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';

/** How long this peer takes, in milliseconds. */
const serviceMs = 30;

// A peer in a thread of its own, so that it answers while the caller's event loop stands still.
parentPort?.on('message', (id: unknown) => {
  void wait(serviceMs).then(() => parentPort?.postMessage(id));
});
