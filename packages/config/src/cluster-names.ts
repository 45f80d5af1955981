import { parseSpiffeId, type SpiffeId } from '@inmesh/core';
import { dnsLabel } from './kinds.js';
import { listItems } from './list-items.js';

/** What identities and names are completed with. */
export interface OwnScope {
  /** Own namespace. */
  readonly namespace: string;
  /** Own trust domain. */
  readonly trustDomain: string;
}

/** Reads `spiffe://…`, `account` or `namespace/account`. @throws Error */
function parseIdentity(text: string, own: OwnScope): SpiffeId {
  if (text.startsWith('spiffe://')) return parseSpiffeId(text);
  const [first = '', second, extra] = text.split('/');
  if (extra !== undefined)
    throw new Error(`"${text}" is neither spiffe://…, an account nor namespace/account`);
  const namespace = second === undefined ? own.namespace : dnsLabel.parse(first);
  return parseSpiffeId(`spiffe://${own.trustDomain}/ns/${namespace}/sa/${second ?? first}`);
}

/** Reads identities separated by commas. @throws Error */
export function parseIdentities(text: string, own: OwnScope): readonly SpiffeId[] {
  return Object.freeze(listItems(text, 'names no identity').map((item) => parseIdentity(item, own)));
}

/** Checks `orders` or `orders.billing`. @throws Error */
export function checkClusterName(name: string): string {
  const [service = '', namespace, extra] = name.split('.');
  if (extra !== undefined) throw new Error(`"${name}" is neither NAME nor NAME.NAMESPACE`);
  dnsLabel.parse(service);
  if (namespace !== undefined) dnsLabel.parse(namespace);
  return name;
}

/** The name that a cluster goes by: short in our own namespace, so that it has one name and not two. */
export function canonicalName(name: string, own: OwnScope): string {
  const [service = '', namespace, extra] = name.split('.');
  return namespace === own.namespace && extra === undefined ? service : name;
}

/** Identities of a name where none are given: the account of its name. */
export function defaultIdentities(name: string, own: OwnScope): readonly SpiffeId[] {
  const [service = '', namespace = own.namespace] = name.split('.');
  return Object.freeze([parseIdentity(`${namespace}/${service}`, own)]);
}
