import { type Cluster, type Endpoint, parseSpiffeId, type SpiffeId } from '@inmesh/core';
import { dnsLabel } from './kinds.js';

/** What identities and names are completed with. */
export interface OwnScope {
  /** Own namespace. */
  readonly namespace: string;
  /** Own trust domain. */
  readonly trustDomain: string;
}

const endpointForm = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9._-]{0,253})?)):(\d{1,5})$/;

/** Reads `host:port`. @throws Error */
function parseEndpoint(text: string): Endpoint {
  const [, v6, name, digits] = endpointForm.exec(text) ?? [];
  const host = v6 ?? name;
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65_535) throw new Error(`"${text}" is not host:port`);
  return Object.freeze({ host, port });
}

function items(text: string): readonly string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** Reads `host:port,…`. @throws Error */
export function parseEndpoints(text: string): readonly Endpoint[] {
  const endpoints = items(text).map(parseEndpoint);
  if (endpoints.length === 0) throw new Error('names no endpoint');
  return Object.freeze(endpoints);
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
  const identities = items(text).map((item) => parseIdentity(item, own));
  if (identities.length === 0) throw new Error('names no identity');
  return Object.freeze(identities);
}

/** Checks `orders` or `orders.billing`. @throws Error */
export function checkClusterName(name: string): string {
  const [service = '', namespace, extra] = name.split('.');
  if (extra !== undefined) throw new Error(`"${name}" is neither NAME nor NAME.NAMESPACE`);
  dnsLabel.parse(service);
  if (namespace !== undefined) dnsLabel.parse(namespace);
  return name;
}

/** Makes a cluster; its identity defaults to the account of its name. */
export function makeCluster(
  name: string,
  endpoints: readonly Endpoint[],
  identities: readonly SpiffeId[] | undefined,
  own: OwnScope,
): Cluster {
  const [service = '', namespace = own.namespace] = name.split('.');
  return Object.freeze({
    name,
    endpoints,
    identities: identities ?? Object.freeze([parseIdentity(`${namespace}/${service}`, own)]),
  });
}
