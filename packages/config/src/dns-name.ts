import { isIP } from 'node:net';
import { createTimer, type Endpoint, type Logger, MeshError, type Runtime } from '@inmesh/core';
import {
  distinct,
  type LookupAddress,
  maxEndpoints,
  type SrvRecord,
  srvEndpoints,
  usableAddresses,
  usableRecords,
} from './dns-answer.js';
import type { DnsSpec, SrvSpec } from './endpoint-spec.js';
import { messageOf } from './problems.js';

/** What {@link DnsName} needs. */
export interface DnsNameParts {
  /** Time and chance. */
  readonly runtime: Runtime;
  /** Told when lookups begin to fail, and when they succeed again. */
  readonly logger: Logger;
  /** Time between lookups, in milliseconds. */
  readonly intervalMs: number;
  /** Addresses of a host. */
  readonly lookup: (host: string) => Promise<readonly LookupAddress[]>;
  /** SRV records of a name. */
  readonly resolveSrv: (name: string) => Promise<readonly SrvRecord[]>;
  /** Called when the answer or the error is another. */
  readonly onChange: () => void;
}

/** What one lookup came to. */
interface Found {
  readonly endpoints: readonly Endpoint[];
  /** How many there would be without the bound. */
  readonly total: number;
  /** A part that failed; what it said last time is among the endpoints. */
  readonly error: unknown;
}

/** Least time between two lookups of a name, in milliseconds. */
const minIntervalMs = 1000;
/** Lookups of SRV targets at once: each takes a thread of Node's four. */
const concurrency = 2;
const jitterRatio = 0.1;

/** One name and its endpoints, looked up again and again. One lookup at a time; the last good answer stays. */
export class DnsName {
  /** The last good answer; empty before. */
  endpoints: readonly Endpoint[] = [];
  /** Why the last lookup gave none, or not all. */
  error: MeshError | undefined;
  readonly #spec: DnsSpec | SrvSpec;
  readonly #parts: DnsNameParts;
  readonly #timer = createTimer(() => this.start());
  /** What SRV targets said last. */
  #targets: ReadonlyMap<string, readonly string[]> = new Map();
  #startedMs = Number.NEGATIVE_INFINITY;
  #dueMs = Number.POSITIVE_INFINITY;
  #failures = 0;
  #isRunning = false;
  #isWanted = false;
  #isCut = false;
  #isClosed = false;

  /** @param spec - The name. */
  constructor(spec: DnsSpec | SrvSpec, parts: DnsNameParts) {
    this.#spec = spec;
    this.#parts = parts;
  }

  /** Looks the name up now. */
  start(): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
    this.#isRunning = true;
    this.#isWanted = false;
    this.#startedMs = this.#parts.runtime.now();
    void this.#find().then(
      (found) => this.#end(found),
      (error: unknown) => this.#end({ endpoints: [], total: 0, error }),
    );
  }

  /** Looks the name up soon: a second after the last time began, at the earliest. */
  refresh(): void {
    if (this.#isClosed) return;
    if (this.#isRunning) this.#isWanted = true;
    else this.#arm(this.#startedMs + minIntervalMs - this.#parts.runtime.now());
  }

  /** Stops; a lookup under way changes nothing any more. */
  close(): void {
    this.#isClosed = true;
    this.#parts.runtime.disarm(this.#timer);
  }

  get #text(): string {
    return this.#spec.kind === 'srv' ? this.#spec.name : this.#spec.host;
  }

  async #find(): Promise<Found> {
    const spec = this.#spec;
    if (spec.kind === 'srv') return await this.#findSrv(spec.name);
    const { kind: _, host, ...rest } = spec;
    const addresses = usableAddresses(await this.#parts.lookup(host));
    const endpoints = addresses.map((one) => Object.freeze({ ...rest, host: one }));
    return { endpoints, total: endpoints.length, error: undefined };
  }

  async #findSrv(name: string): Promise<Found> {
    const all = usableRecords(await this.#parts.resolveSrv(name));
    const records = all.slice(0, maxEndpoints);
    const targets = new Map<string, readonly string[]>();
    const errors = new Map<string, unknown>();
    const hosts = [...new Set(records.map((one) => one.name))];
    const waiting = hosts.values();
    const work = async (): Promise<void> => {
      for (const host of waiting) {
        if (this.#isClosed) return;
        try {
          targets.set(host, isIP(host) === 0 ? usableAddresses(await this.#parts.lookup(host)) : [host]);
        } catch (error) {
          errors.set(host, error);
          targets.set(host, this.#targets.get(host) ?? []);
        }
      }
    };
    await Promise.all(Array.from({ length: concurrency }, work));
    this.#targets = targets;
    const endpoints = distinct(srvEndpoints(records, (host) => targets.get(host) ?? []));
    return {
      endpoints,
      total: Math.max(all.length, endpoints.length),
      error: errors.get(hosts.find((host) => errors.has(host)) ?? ''),
    };
  }

  #end({ endpoints, total, error }: Found): void {
    this.#isRunning = false;
    if (this.#isClosed) return;
    const isEmpty = endpoints.length === 0;
    if (!isEmpty) {
      this.#warnIfCut(total);
      this.endpoints = endpoints.slice(0, maxEndpoints);
    }
    this.#setError(isEmpty || error !== undefined ? this.#describe(error) : undefined);
    this.#failures = this.error === undefined ? 0 : this.#failures + 1;
    this.#schedule();
    this.#parts.onChange();
  }

  #describe(cause: unknown): MeshError {
    const reason = cause === undefined ? 'the answer holds no usable address' : messageOf(cause);
    return new MeshError('INMESH_ERR_NO_ENDPOINT', `looking up "${this.#text}" failed: ${reason}`, {
      cause,
      details: { name: this.#text },
    });
  }

  /** Says a thing once, and keeps the error that was there for the same reason. */
  #setError(error: MeshError | undefined): void {
    if (error?.message === this.error?.message) return;
    this.error = error;
    const { logger } = this.#parts;
    const fields = { name: this.#text, endpoints: this.endpoints.length };
    if (error === undefined) logger.info(fields, 'name lookup succeeds again');
    else logger.warn({ ...fields, error }, 'name lookup failed, the last answer stays');
  }

  #warnIfCut(found: number): void {
    const isCut = found > maxEndpoints;
    if (isCut && !this.#isCut)
      this.#parts.logger.warn(
        { name: this.#text, found, used: maxEndpoints },
        'a name has too many endpoints, some are left out',
      );
    this.#isCut = isCut;
  }

  #schedule(): void {
    const { runtime, intervalMs } = this.#parts;
    const usualMs =
      this.#failures === 0
        ? intervalMs
        : Math.min(intervalMs, minIntervalMs * 2 ** Math.min(this.#failures - 1, 20));
    const delayMs = usualMs * (1 + jitterRatio * (2 * runtime.random() - 1));
    const leastMs = this.#startedMs + minIntervalMs - runtime.now();
    this.#arm(this.#isWanted ? leastMs : Math.max(leastMs, delayMs));
  }

  /** Arms the timer, unless it is due earlier. */
  #arm(delayMs: number): void {
    const { runtime } = this.#parts;
    const dueMs = runtime.now() + Math.max(0, delayMs);
    if (dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    runtime.arm(this.#timer, Math.max(0, delayMs));
  }
}
