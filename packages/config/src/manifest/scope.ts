import { parseSpiffeId, type SpiffeId } from '@inmesh/core';
import { canonicalName, type OwnScope } from '../cluster-names.js';
import { isPlainObject } from '../shape.js';

/** Who reads the manifests: what they select, and what names are completed with. */
export interface ReaderScope extends OwnScope {
  /** Own labels. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Where policies of the whole mesh stand. As Istio's default. */
export const rootNamespace = 'istio-system';

/**
 * The name of the mesh that a host of a manifest stands for: `orders`, `orders.billing`, or a DNS name as it is. A short
 * name belongs to the namespace of its document, as in Istio.
 */
export function nameOfHost(host: string, namespace: string, own: OwnScope): string {
  const bare = host
    .toLowerCase()
    .replace(/\.$/, '')
    .replace(/\.svc(?:\.cluster\.local)?$/, '');
  return canonicalName(bare.includes('.') ? bare : `${bare}.${namespace}`, own);
}

/** What keeps a text from being a host that can be called; `undefined` if nothing does. */
export function hostMistake(host: string): string | undefined {
  if (host.includes('*')) return `the host "${host}" has a wildcard, which is not supported: name each host`;
  if (
    !/^(?=.{1,253}\.?$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*\.?$/i.test(host)
  )
    return `"${host}" is no DNS name`;
  return undefined;
}

/** Whether a document is there for our namespace. Istio `exportTo`; none is everybody. */
export function isExported(exportTo: unknown, namespace: string, own: OwnScope): boolean {
  if (!Array.isArray(exportTo) || exportTo.length === 0) return true;
  return exportTo.some(
    (one) => one === '*' || one === own.namespace || (one === '.' && namespace === own.namespace),
  );
}

/** Whether we have all of these labels. */
export function hasLabels(wanted: unknown, labels: Readonly<Record<string, string>>): boolean {
  return !isPlainObject(wanted) || Object.entries(wanted).every(([key, value]) => labels[key] === value);
}

/** The identity of an account. */
export function accountId(account: string, namespace: string, own: OwnScope): SpiffeId {
  return parseSpiffeId(`spiffe://${own.trustDomain}/ns/${namespace}/sa/${account}`);
}
