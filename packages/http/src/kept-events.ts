import { ServerResponse } from 'node:http';
import type { Call, CallContext } from '@inmesh/core';
import type { AnyRequest, AnyResponse } from './local-reply.js';

type Emit = (event: string, ...args: unknown[]) => boolean;

/** Told first when a response closes. */
export interface CloseListener {
  /** Its last byte was sent, or its client is gone. */
  onClose(): void;
}

const keptKey: unique symbol = Symbol('inmesh.kept');

/** What belongs to the events of a request or a response. */
interface Kept {
  readonly context: CallContext;
  readonly call: Call;
  readonly emit: Emit;
  readonly listener: CloseListener | undefined;
}

type Emitter = (AnyRequest | AnyResponse) & { [keptKey]?: Kept };

/** Without a list of arguments where there are none: the events of most requests have none. */
function emitAs(emitter: Emitter, emit: Emit, event: string, args: readonly unknown[]): boolean {
  return args.length === 0 ? emit.call(emitter, event) : emit.call(emitter, event, ...args);
}

/** Shared by all: no closure per request. Entering a context costs as much as a layer: only where somebody sees it. */
function emitInside(this: Emitter, event: string, ...args: unknown[]): boolean {
  const kept = this[keptKey];
  if (kept === undefined) return false;
  const { context, call, emit, listener } = kept;
  if (event === 'close') listener?.onClose();
  const listeners = this.listenerCount(event);
  // The first listener of `finish` is that of node:http itself.
  const isOwn = listeners === 1 && event === 'finish' && this instanceof ServerResponse;
  if (listeners === 0 || isOwn || context.current() === call) return emitAs(this, emit, event, args);
  return context.run(call, () => emitAs(this, emit, event, args));
}

/**
 * Events of a request run in the context of whatever the connection does just then: none, or, where requests are
 * pipelined, that of another call. Handlers that wait with `on('end')`, `on('drain')` or `on('close')` would be in the
 * wrong one.
 *
 * @param listener - Told before everybody else when `emitter` closes: no listener of its own per request.
 */
export function keepEvents(
  emitter: Emitter,
  context: CallContext,
  call: Call,
  listener?: CloseListener,
): void {
  emitter[keptKey] = { context, call, emit: emitter.emit as Emit, listener };
  emitter.emit = emitInside as typeof emitter.emit;
}
