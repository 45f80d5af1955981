import { type Call, contextKey, type Layer, type Logger, type Runtime } from '@inmesh/core';
import { type AccessDecision, accessFields, type CallRecord, isFailure, recordOf } from './call-record.js';

/** What {@link CallRecords} needs. */
export interface CallRecordsOptions {
  /** What is logged: nothing, everything, what failed, or that and a share of the rest. */
  readonly accessLog: 'all' | 'errors' | 'off' | number;
  /** Takes the access log, at level info. */
  readonly logger: Logger;
  /** Time and chance. */
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'wallMs'>;
}

const decisionKey = contextKey<AccessDecision>('inmesh.decision');

/** What was decided about a call; `undefined` where nobody wanted to know. */
export function decisionOf(call: Call): AccessDecision | undefined {
  return call.get(decisionKey);
}

/** Makes a record of each call that has ended, for the access log and for whoever listens; none where nobody does. */
export class CallRecords {
  /** Sees calls as they end. */
  readonly layer: Layer;
  readonly #options: CallRecordsOptions;
  readonly #listeners = new Set<(record: CallRecord) => void>();
  /** Whether decisions are kept, although there is no record. */
  readonly #keepsDecisions: boolean;

  /** @param keepsDecisions - Somebody else reads what was decided. */
  constructor(options: CallRecordsOptions, keepsDecisions: boolean) {
    this.#options = options;
    this.#keepsDecisions = keepsDecisions;
    this.layer = {
      role: 'records',
      scope: 'call',
      why: 'what other layers refuse or answer is recorded, too',
      before: ['authorize'],
      bind: () => ({
        end: (call, end) => {
          if (!this.isOn) return;
          const { runtime } = this.#options;
          this.#tell(recordOf(call, end, call.get(decisionKey), runtime.wallMs(), runtime.now()));
        },
      }),
    };
  }

  /** Calls `listener` with each record. @returns how to stop */
  listen(listener: (record: CallRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes what was decided about a call. */
  readonly onDecision = (call: Call, decision: AccessDecision): void => {
    if (this.isOn || this.#keepsDecisions) call.set(decisionKey, decision);
  };

  /** Whether somebody wants records. */
  get isOn(): boolean {
    return this.#listeners.size > 0 || this.#options.accessLog !== 'off';
  }

  #tell(record: CallRecord): void {
    const { logger } = this.#options;
    if (this.#isLogged(record)) logger.info(accessFields(record), 'access');
    const tell = (error: unknown): void => logger.error({ error }, 'a listener of decisions threw');
    for (const listener of this.#listeners) {
      try {
        // It may be asynchronous, whatever its type says: then a rejection would end the process.
        const result: unknown = listener(record);
        if (result instanceof Promise) result.catch(tell);
      } catch (error) {
        tell(error);
      }
    }
  }

  #isLogged(record: CallRecord): boolean {
    const { accessLog, runtime } = this.#options;
    if (accessLog === 'off') return false;
    if (accessLog === 'all' || isFailure(record)) return true;
    return typeof accessLog === 'number' && runtime.random() < accessLog;
  }
}
