import {
  type Endpoint,
  type Logger,
  MeshError,
  type Watch,
  WatchSource,
  type WatchState,
} from '@inmesh/core';
import { checkEndpoints } from './endpoint-spec.js';

/** What {@link createCheckedEndpoints} needs. */
export interface CheckedEndpointsOptions {
  /** Where the endpoints stand, for messages: `upstreams.orders.endpoints`. */
  readonly where: string;
  /** Told once when values begin to be wrong, and again when they are wrong in another way. */
  readonly logger: Logger;
}

/** Endpoints of a source of the user's, checked as those that are written in code are. */
export interface CheckedEndpoints extends Watch<readonly Endpoint[]> {
  /** Stops listening; the state stays, and so does the source. */
  close(): void;
}

class CheckedWatch extends WatchSource<readonly Endpoint[]> implements CheckedEndpoints {
  readonly #where: string;
  readonly #logger: Logger;
  readonly #unsubscribe: () => void;
  #reported: string | undefined;

  constructor(watch: Watch<readonly Endpoint[]>, { where, logger }: CheckedEndpointsOptions) {
    // A listener's fault must not surface in the code that publishes.
    super((error) => logger.error({ error }, 'a listener of endpoints threw'));
    this.#where = where;
    this.#logger = logger;
    this.#unsubscribe = watch.subscribe((state) => this.#take(state));
  }

  close(): void {
    this.#unsubscribe();
  }

  #take(state: WatchState<readonly Endpoint[]>): void {
    if (state.kind === 'gone') this.withdraw(state.error);
    else if (state.kind === 'ready') this.#read(state.value, state.error);
    else if (state.error !== undefined) this.fail(state.error);
  }

  #read(value: unknown, error: unknown): void {
    const problems: string[] = [];
    const endpoints = checkEndpoints(value, this.#where, problems);
    if (endpoints === undefined) {
      this.#refuse(problems);
      return;
    }
    this.#reported = undefined;
    this.set(endpoints);
    if (error !== undefined) this.fail(error);
  }

  #refuse(problems: readonly string[]): void {
    const message = problems.join('\n');
    const error = new MeshError('INMESH_ERR_CONFIG_INVALID', message, {
      details: { problems },
    });
    if (message !== this.#reported)
      this.#logger.error({ error }, 'endpoints from code are wrong; the last good ones stay');
    this.#reported = message;
    this.fail(error);
  }
}

/**
 * Checks every value of a source of endpoints. One that is wrong is an error in the state, and the last good value
 * stays; a list without endpoints is a value.
 */
export function createCheckedEndpoints(
  watch: Watch<readonly Endpoint[]>,
  options: CheckedEndpointsOptions,
): CheckedEndpoints {
  return new CheckedWatch(watch, options);
}
