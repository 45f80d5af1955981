import { isIP } from 'node:net';
import { type Endpoint, plainIp } from '@inmesh/core';
import { isHost, isPort } from './endpoint-spec.js';

/** An address, as `dns.lookup` gives it. */
export interface LookupAddress {
  /** IP address. */
  readonly address: string;
}

/** An SRV record, as `dns.resolveSrv` gives it. RFC 2782. */
export interface SrvRecord {
  /** Host. */
  readonly name: string;
  /** Port. */
  readonly port: number;
  /** Lower ones are used first. */
  readonly priority: number;
  /** Share among those of one priority. */
  readonly weight: number;
}

/** Most endpoints that one name may have; what goes beyond is left out. */
export const maxEndpoints = 1000;

// Blockers answer with these for names that do not exist, and connecting to them reaches this very host.
const unspecified: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function isUsable(address: string): boolean {
  return isIP(address) !== 0 && !unspecified.has(plainIp(address));
}

/** The addresses of an answer that can be used: each once, in an order that does not depend on the answer's. */
export function usableAddresses(answer: readonly LookupAddress[]): readonly string[] {
  const addresses = new Set<string>();
  for (const { address } of answer)
    if (typeof address === 'string' && isUsable(address)) addresses.add(address);
  return [...addresses].toSorted(order);
}

function isSixteenBit(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 65_535;
}

/** The records of an answer that can be used, by priority and name. A target of "." says that there is no service. */
export function usableRecords(answer: readonly SrvRecord[]): readonly SrvRecord[] {
  return answer
    .filter(
      ({ name, port, priority, weight }) =>
        isHost(name) &&
        (isIP(name) === 0 || isUsable(name)) &&
        isPort(port) &&
        isSixteenBit(priority) &&
        isSixteenBit(weight),
    )
    .toSorted((a, b) => a.priority - b.priority || order(a.name, b.name) || a.port - b.port);
}

/**
 * Endpoints of SRV records. Priorities become ranks from 0. A record's weight is shared by the addresses of its
 * target; where all weights of a priority are 0, each counts as 1.
 *
 * @param addressesOf - Addresses of a target; those without any are left out.
 */
export function srvEndpoints(
  records: readonly SrvRecord[],
  addressesOf: (target: string) => readonly string[],
): readonly Endpoint[] {
  const ranks = new Map<number, { readonly rank: number; isWeighted: boolean }>();
  for (const { priority, weight } of records) {
    const known = ranks.get(priority);
    if (known === undefined) ranks.set(priority, { rank: ranks.size, isWeighted: weight > 0 });
    else known.isWeighted ||= weight > 0;
  }
  return records.flatMap(({ name, port, priority, weight }) => {
    const addresses = addressesOf(name);
    const { rank = 0, isWeighted = false } = ranks.get(priority) ?? {};
    const share = (isWeighted ? weight : 1) / addresses.length;
    return addresses.map((host) => Object.freeze({ host, port, weight: share, priority: rank }));
  });
}

/** Each host and port once; of two the first. */
export function distinct(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const byKey = new Map<string, Endpoint>();
  for (const endpoint of endpoints) {
    const key = `${endpoint.host} ${endpoint.port}`;
    if (!byKey.has(key)) byKey.set(key, endpoint);
  }
  return [...byKey.values()];
}

/** The same text for the same endpoints, in whichever order. */
export function fingerprint(endpoints: readonly Endpoint[]): string {
  return endpoints
    .map(({ host, port, weight = 1, priority = 0, locality = '' }) =>
      [host, port, weight, priority, locality].join(' '),
    )
    .toSorted(order)
    .join('\n');
}
