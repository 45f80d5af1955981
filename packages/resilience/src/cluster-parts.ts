import type { Logger, Runtime } from '@inmesh/core';
import type { BalancerFactory } from './balancers.js';

/** What clusters share. */
export interface ClusterParts {
  /** Time and chance. */
  readonly runtime: Runtime;
  /** The runtime's chance as a function, one for all clusters. @defaultValue one for each */
  readonly random?: () => number;
  /** Told about ejections. */
  readonly logger: Logger;
  /** Our own `region/zone/subzone`. @defaultValue not known */
  readonly locality?: string;
  /** Asked when an endpoint of a cluster could not be connected to: its names may resolve to others by now. @defaultValue nobody */
  readonly onUnreachable?: (cluster: string) => void;
  /** A balancer of the user's, by cluster name; in place of the one of the rules. @defaultValue none */
  readonly balancers?: Readonly<Record<string, BalancerFactory>>;
}

/** What happened in a cluster since the start. */
export interface ClusterStats {
  /** Calls that were begun. */
  calls: number;
  /** Attempts that were sent again. */
  retries: number;
  /** Retries that the budget refused. */
  budgetRefusals: number;
  /** Calls and attempts refused by a limit. */
  overflows: number;
  /** Endpoints taken out. */
  ejections: number;
}
