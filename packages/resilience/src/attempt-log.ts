import type {
  AttemptNote,
  AttemptNotes,
  MeshErrorCode,
  NoRetryReason,
  Reached,
  RetryReason,
  Runtime,
} from '@inmesh/core';
import type { EndpointState } from './endpoint-state.js';

type Entry = { -readonly [K in keyof AttemptNote]: AttemptNote[K] };

/** What there was to choose from when an endpoint was picked. */
export interface EndpointChoice {
  /** Endpoints that picks choose from. */
  readonly usableCount: number;
  /** Endpoints that are configured. */
  readonly endpointCount: number;
}

/** What a reply came to. */
export interface LoggedReply {
  /** `undefined` for gRPC. */
  readonly httpStatus: number | undefined;
  /** `undefined` for what is no gRPC. */
  readonly grpcStatus: number | undefined;
  /** Whether the user's classifier judged it. */
  readonly isClassified: boolean;
}

/** What it says of a call that ended, by what ended it, where no gate of a retry was asked. */
const reasons: Partial<Readonly<Record<MeshErrorCode, NoRetryReason>>> = {
  INMESH_ERR_CANCELLED: 'cancelled',
  INMESH_ERR_DEADLINE_EXCEEDED: 'deadline',
  INMESH_ERR_HEAD_TIMEOUT: 'deadline',
  INMESH_ERR_NO_ENDPOINT: 'no-endpoint',
  INMESH_ERR_OVERFLOW: 'overflow',
};

/** Why a failure that is never retried is not. */
export function finalReason(code: MeshErrorCode): NoRetryReason {
  return reasons[code] ?? 'final-failure';
}

/**
 * Notes what comes of the attempts of one call, one after the other. Made only where somebody wants to know: then it is
 * the call's {@link DrivenCall.attemptLog}, and what decides about retries says why it decided so.
 */
export class AttemptLog implements AttemptNotes {
  readonly #runtime: Pick<Runtime, 'now'>;
  readonly #entries: Entry[] = [];
  #isOpen = false;
  /** Why there is no attempt at all. */
  #early: NoRetryReason | undefined;

  /** @param runtime - Time. */
  constructor(runtime: Pick<Runtime, 'now'>) {
    this.#runtime = runtime;
  }

  get attempts(): readonly AttemptNote[] {
    return this.#entries;
  }

  get notRetried(): NoRetryReason | undefined {
    const last = this.#entries.at(-1);
    return last === undefined ? this.#early : last.notRetried;
  }

  /** An attempt begins. */
  start(endpoint: EndpointState, { usableCount, endpointCount }: EndpointChoice): void {
    const startedMs = this.#runtime.now();
    const before = this.#entries.at(-1);
    if (before !== undefined) before.waitedMs = startedMs - before.startedMs - before.durationMs;
    this.#entries.push({
      endpoint: endpoint.key,
      usableEndpoints: usableCount,
      allEndpoints: endpointCount,
      startedMs,
      durationMs: 0,
      httpStatus: undefined,
      grpcStatus: undefined,
      error: undefined,
      reached: 'no',
      retried: undefined,
      waitedMs: undefined,
      notRetried: undefined,
    });
    this.#isOpen = true;
  }

  /** The attempt was answered. Unless a gate says otherwise, what failed is not repeated because nobody wants it to be. */
  answered({ httpStatus, grpcStatus, isClassified }: LoggedReply): void {
    const last = this.#close();
    if (last === undefined) return;
    last.httpStatus = httpStatus;
    last.grpcStatus = grpcStatus;
    last.reached = 'maybe';
    if ((httpStatus ?? 200) >= 400 || (grpcStatus ?? 0) !== 0)
      last.notRetried = isClassified ? 'classifier' : 'no-condition';
  }

  /** The attempt ended without a reply, or with one that is none of the peer's. */
  failed(code: MeshErrorCode | undefined, reached: Reached): void {
    const last = this.#close();
    if (last === undefined) return;
    last.error = code;
    last.reached = reached;
  }

  /** The attempt will be followed by another. */
  again(reason: RetryReason): void {
    const last = this.#entries.at(-1);
    if (last === undefined) return;
    last.retried = reason;
    last.notRetried = undefined;
  }

  /** The attempt will not be followed by another. */
  final(reason: NoRetryReason): void {
    const last = this.#entries.at(-1);
    if (last === undefined) return;
    last.retried = undefined;
    last.notRetried = reason;
  }

  /**
   * The call is over. Only the first time says something new.
   *
   * @param code - Why, where it failed.
   * @param reason - Why it is not tried again, where the code does not tell.
   */
  end(code: MeshErrorCode | undefined, reason?: NoRetryReason): void {
    const last = this.#entries.at(-1);
    const told = reason ?? (code === undefined ? undefined : reasons[code]);
    if (last === undefined) {
      this.#early ??= told;
      return;
    }
    if (this.#isOpen) {
      this.failed(code, last.reached);
      last.notRetried = told ?? 'cancelled';
    } else if (last.retried !== undefined) {
      // Nothing followed after all.
      this.final(told ?? (code === undefined || code === last.error ? 'retries-off' : 'final-failure'));
    } else if (code !== undefined && last.error === undefined) {
      last.error = code;
      last.durationMs = this.#runtime.now() - last.startedMs;
      last.notRetried ??= told ?? 'delivered';
    }
  }

  /** Bytes of the attempt may have left. */
  sent(): void {
    const last = this.#entries.at(-1);
    if (last !== undefined && this.#isOpen) last.reached = 'maybe';
  }

  /** The peer proved that no handler saw what it answered. */
  notProcessed(): void {
    const last = this.#entries.at(-1);
    if (last !== undefined) last.reached = 'refused';
  }

  #close(): Entry | undefined {
    const last = this.#entries.at(-1);
    if (last === undefined) return undefined;
    this.#isOpen = false;
    last.durationMs = this.#runtime.now() - last.startedMs;
    return last;
  }
}

/** A log for a call that begins; `undefined` where nobody wants one. */
export function openAttemptLog(
  isWanted: (() => boolean) | undefined,
  runtime: Pick<Runtime, 'now'>,
): AttemptLog | undefined {
  return isWanted?.() === true ? new AttemptLog(runtime) : undefined;
}
