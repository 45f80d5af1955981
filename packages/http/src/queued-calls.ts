import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { CloseListener } from './kept-events.js';

/** Calls whose responses wait for the one before on their connection, by connection: one listener for all of them. */
const queued = new WeakMap<Socket, Set<CloseListener>>();

function callsOf(socket: Socket): Set<CloseListener> {
  const known = queued.get(socket);
  if (known !== undefined) return known;
  const calls = new Set<CloseListener>();
  queued.set(socket, calls);
  socket.once('close', () => {
    for (const call of calls) call.onClose();
  });
  return calls;
}

/**
 * Tells a call of a pipelined request that its connection is gone. node:http does not: a response that has not got the
 * socket yet never closes, and the call would be under way for ever.
 *
 * @param response - Of node:http, not yet begun.
 */
export function watchQueued(socket: Socket, response: ServerResponse, call: CloseListener): void {
  if (response.socket !== null) return;
  const calls = callsOf(socket);
  calls.add(call);
  response.once('close', () => calls.delete(call));
}
