import type { Credentials } from './clients.js';
import type { Bench, Fleet, Service } from './harness.js';

/** What every line works with. */
export interface Context {
  readonly bench: Bench;
  readonly fleet: Fleet;
  /** Identities of the dev CA. */
  readonly web: Credentials;
  readonly admin: Credentials;
  readonly intruder: Credentials;
  /** The first service of a name. */
  readonly service: (name: string) => Service;
}

/** A line of the acceptance: returns what it saw, in a few words. */
export interface Line {
  readonly title: string;
  run(context: Context): Promise<string>;
}
