import { type AuthorizationPolicy, MeshError, type Origin } from '@inmesh/core';
import type { OwnScope } from './cluster-names.js';
import { dnsLabel } from './kinds.js';

function principalOf(item: string, own: OwnScope): string {
  if (item === '*') return '*';
  if (item.startsWith('spiffe://')) return item.slice('spiffe://'.length);
  const [first = '', second, extra] = item.split('/');
  const account = second ?? first;
  if (extra !== undefined || !/^(?:\*|[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)$/.test(account)) {
    throw new Error(`"${item}" is neither an account, namespace/account, namespace/*, spiffe://… nor *`);
  }
  const namespace = second === undefined ? own.namespace : dnsLabel.parse(first);
  return `${own.trustDomain}/ns/${namespace}/sa/${account}`;
}

/**
 * The ALLOW policy that `INMESH_ALLOW` stands for.
 *
 * @param text - `storefront,billing/*`
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID`
 */
export function parseAllow(text: string, own: OwnScope, source = 'INMESH_ALLOW'): AuthorizationPolicy {
  const origin: Origin = Object.freeze({ source, line: 0, column: 0 });
  const names = text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
  if (names.length === 0)
    throw new MeshError('INMESH_ERR_CONFIG_INVALID', `${source} is empty; name who is allowed, or unset it`);
  try {
    const principals = Object.freeze(names.map((item) => principalOf(item, own)));
    return Object.freeze({
      name: 'inmesh-allow',
      namespace: own.namespace,
      action: 'ALLOW',
      selector: {},
      rules: Object.freeze([{ from: [{ principals }], origin }]),
      origin,
    });
  } catch (error) {
    throw new MeshError(
      'INMESH_ERR_CONFIG_INVALID',
      `${source}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
