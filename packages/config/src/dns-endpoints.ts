import { lookup as systemLookup, resolveSrv as systemResolveSrv } from 'node:dns/promises';
import { type Endpoint, type Logger, type Runtime, type Watch, WatchSource } from '@inmesh/core';
import { distinct, fingerprint, type LookupAddress, type SrvRecord } from './dns-answer.js';
import { DnsName } from './dns-name.js';
import { type EndpointSpec, staticEndpoints } from './endpoint-spec.js';

export type { LookupAddress, SrvRecord } from './dns-answer.js';

/** What {@link createEndpoints} needs. */
export interface EndpointsOptions {
  /** Time and chance. */
  readonly runtime: Runtime;
  /** Told when lookups begin to fail, and when they succeed again. */
  readonly logger: Logger;
  /** Time between lookups of a name, in milliseconds, ±10 %. After a failure 1 s, 2 s, 4 s and so on up to it. @defaultValue 30_000 */
  readonly intervalMs?: number;
  /** Addresses of a host. @defaultValue the system's resolver, with hosts file and search domains */
  readonly lookup?: (host: string) => Promise<readonly LookupAddress[]>;
  /** SRV records of a name. @defaultValue a DNS query */
  readonly resolveSrv?: (name: string) => Promise<readonly SrvRecord[]>;
}

/**
 * Endpoints of an upstream. Addresses are there at once; names as they are found. The last good answer of each name
 * stays through failures and empty answers, with the error in the state. Before the first answer it is pending.
 */
export interface EndpointSource extends Watch<readonly Endpoint[]> {
  /** Asks for a lookup of every name, after a failed connection. At most one a second each; what is known stays. */
  refresh(): void;
  /** Stops looking up; the state stays. */
  close(): void;
}

/** The order is the resolver's; ours is by address anyway. */
function systemAddresses(host: string): Promise<readonly LookupAddress[]> {
  return systemLookup(host, { all: true, verbatim: true });
}

class SpecEndpoints extends WatchSource<readonly Endpoint[]> implements EndpointSource {
  readonly #fixed: readonly Endpoint[];
  readonly #names: readonly DnsName[];
  readonly #logger: Logger;
  #published = '';

  constructor(specs: readonly EndpointSpec[], options: EndpointsOptions) {
    super();
    const { runtime, logger, intervalMs = 30_000, lookup = systemAddresses } = options;
    const { resolveSrv = systemResolveSrv } = options;
    const onChange = (): void => this.#publish();
    const parts = { runtime, logger, intervalMs, lookup, resolveSrv, onChange };
    this.#logger = logger;
    this.#fixed = staticEndpoints(specs);
    this.#names = specs.flatMap((spec) => (spec.kind === 'static' ? [] : [new DnsName(spec, parts)]));
    this.#publish();
    for (const name of this.#names) name.start();
  }

  refresh(): void {
    for (const name of this.#names) name.refresh();
  }

  close(): void {
    for (const name of this.#names) name.close();
  }

  #publish(): void {
    const endpoints = distinct([...this.#fixed, ...this.#names.flatMap((name) => name.endpoints)]);
    const error = this.#names.find((name) => name.error !== undefined)?.error;
    const found = fingerprint(endpoints);
    const before = this.state;
    try {
      const isOver = before.kind === 'ready' && before.error !== undefined && error === undefined;
      if (endpoints.length > 0 && (found !== this.#published || isOver)) {
        this.#published = found;
        this.set(Object.freeze(endpoints));
      }
      if (error !== undefined && this.state.error !== error) this.fail(error);
    } catch (thrown) {
      // A listener's fault must not end the lookups.
      this.#logger.error({ error: thrown }, 'a listener of endpoints threw');
    }
  }
}

/**
 * Makes a source of endpoints. Nothing is looked up if `specs` are addresses alone.
 *
 * @param specs - From the configuration.
 */
export function createEndpoints(specs: readonly EndpointSpec[], options: EndpointsOptions): EndpointSource {
  return new SpecEndpoints(specs, options);
}
