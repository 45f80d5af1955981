import {
  type CallState,
  type Halt,
  type Headers,
  type LiveCall,
  type LiveCalls,
  type Logger,
  MeshError,
  type Plan,
  type PlanRun,
  statusFromHttp,
  type Verdict,
} from '@inmesh/core';
import type { Exit } from './exit.js';
import type { CloseListener } from './kept-events.js';
import { replyFault } from './local-reply.js';

/** An inbound HTTP call from its head to its last byte. */
export class ServerCall implements PlanRun, LiveCall, CloseListener {
  entered = 0;
  hasEnded = false;
  liveNext: LiveCall | undefined;
  livePrevious: LiveCall | undefined;
  readonly call: CallState;
  readonly #plan: Plan;
  readonly #recheck: () => Verdict;
  readonly #exit: Exit;
  readonly #proceed: () => void;
  readonly #live: LiveCalls;
  readonly #logger: Logger;
  #isDecided = false;
  #isLocalReply = false;
  #error: MeshError | undefined;

  /**
   * @param recheck - Decides again under the plan in force by then.
   * @param proceed - Runs the handler.
   */
  constructor(
    call: CallState,
    plan: Plan,
    recheck: () => Verdict,
    exit: Exit,
    live: LiveCalls,
    logger: Logger,
    proceed: () => void,
  ) {
    this.call = call;
    this.#plan = plan;
    this.#recheck = recheck;
    this.#exit = exit;
    this.#live = live;
    this.#logger = logger;
    this.#proceed = proceed;
  }

  /** Starts the plan. */
  begin(): void {
    this.#live.add(this);
    this.#plan.begin(this, this.call);
    if (!this.#isDecided) this.#exit.watch();
  }

  /** After the last byte, or when the client is gone. */
  onClose(): void {
    this.#end();
  }

  onPass(): void {
    this.#decided();
    // After an asynchronous layer the client may be gone: a handler started now would never see it close.
    if (this.#exit.isGone) this.#end();
    else this.#proceed();
  }

  onHalt(asked: Halt): void {
    this.#decided();
    const halt = this.#checked(asked);
    this.#isLocalReply = true;
    if (halt.kind === 'reject') this.#error = halt.error;
    if (this.#exit.isGone) this.#end();
    else this.#exit.reply(halt);
  }

  /** The head of the reply is about to be written. */
  onHead(httpStatus: number, headers: Headers): void {
    this.#plan.head(this, this.call, { httpStatus, grpcStatus: undefined, headers });
  }

  recheck(): Verdict {
    return this.#recheck();
  }

  onRevoked(halt: Halt): void {
    this.#error =
      halt.kind === 'reject'
        ? halt.error
        : new MeshError('INMESH_ERR_AUTHZ_DENIED', 'the call is no longer allowed');
    this.#isLocalReply = true;
    this.call.cancel(this.#error);
  }

  /** Cuts the exchange; for {@link CallState}. */
  abort(reason: MeshError): void {
    this.#error ??= reason;
    // Out of time: the caller is told, if there is still somebody to tell.
    if (reason.code !== 'INMESH_ERR_DEADLINE_EXCEEDED') this.#exit.destroy();
    else {
      this.#isLocalReply = true;
      this.#exit.overrule({ kind: 'reject', error: reason });
    }
  }

  conclude(): void {
    if (!this.#isDecided || this.#isLocalReply) return;
    this.#error ??= new MeshError('INMESH_ERR_CLOSED', 'the listener closed before the reply ended', {
      stackless: true,
    });
    this.#exit.conclude();
  }

  /** The listener drains: this connection is not to be used again. */
  closeAfter(): void {
    this.#exit.closeAfter();
  }

  #decided(): void {
    this.#isDecided = true;
    this.#exit.unwatch();
  }

  /** A reply that node would refuse is a fault of the layer that made it. */
  #checked(halt: Halt): Halt {
    const fault = halt.reply === undefined ? undefined : replyFault(halt.reply);
    if (fault === undefined) return halt;
    const error = new MeshError('INMESH_ERR_LAYER_THREW', `the reply of a layer cannot be sent: ${fault}`);
    this.#logger.error({ error, code: error.code, path: this.call.facts.path }, 'a layer threw');
    return { kind: 'reject', error };
  }

  #end(): void {
    if (this.hasEnded) return;
    const { httpStatus } = this.#exit;
    // A tunnel that closes before its answer closes without an error.
    const isComplete = this.#isDecided && this.#exit.isComplete;
    if (!isComplete)
      this.#error ??= new MeshError('INMESH_ERR_CANCELLED', 'the client left before the reply ended', {
        stackless: true,
      });
    const error = this.#error;
    this.call.finish(isComplete ? undefined : error);
    this.call.operation ??= this.#exit.operation;
    this.#plan.end(this, this.call, {
      status: error?.status ?? statusFromHttp(httpStatus),
      httpStatus,
      error,
      isLocalReply: this.#isLocalReply,
      requestBytes: this.#exit.takeRead(),
      responseBytes: this.#exit.takeWritten(),
    });
    this.#live.delete(this);
  }
}
