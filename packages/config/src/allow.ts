import { type AuthorizationPolicy, MeshError, type Origin, parseSpiffeId } from '@inmesh/core';
import type { OwnScope } from './cluster-names.js';
import { dnsLabel } from './kinds.js';
import { listItems } from './list-items.js';
import { messageOf, show } from './problems.js';

const scheme = 'spiffe://';
const below = '/*';

/** `spiffe://…`, or with `/*` at its end everybody below it. */
function spiffePrincipal(item: string): string {
  const isPrefix = item.endsWith(below);
  const { path } = parseSpiffeId(isPrefix ? item.slice(0, -below.length) : item);
  // A workload's ID has a path. SPIFFE-ID §2.2.
  if (path === '' && !isPrefix)
    throw new Error(`it is a trust domain and nobody in it; ${item}${below} is everybody in it`);
  return item.slice(scheme.length);
}

function principalOf(item: string, own: OwnScope): string {
  if (item === '*') return '*';
  if (item.startsWith(scheme)) return spiffePrincipal(item);
  const [first = '', second, extra] = item.split('/');
  const account = second ?? first;
  if (extra !== undefined || !/^(?:\*|[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)$/.test(account)) {
    throw new Error('it is neither an account, namespace/account, namespace/*, spiffe://… nor *');
  }
  const namespace = second === undefined ? own.namespace : dnsLabel.parse(first);
  return `${own.trustDomain}/ns/${namespace}/sa/${account}`;
}

/** @throws MeshError */
function namesOf(text: string, source: string): readonly string[] {
  if (text.trim() === '')
    throw new MeshError('INMESH_ERR_CONFIG_INVALID', `${source} is empty; name who is allowed, or unset it`);
  try {
    return listItems(text, 'names nobody; name who is allowed, or unset it');
  } catch (error) {
    throw new MeshError('INMESH_ERR_CONFIG_INVALID', `${source}: ${messageOf(error)}`);
  }
}

/**
 * The ALLOW policy that `INMESH_ALLOW` stands for.
 *
 * @param text - `storefront,billing/*`
 * @param origin - Where it stands. @defaultValue `source`
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID` naming every item that is wrong.
 */
export function parseAllow(
  text: string,
  own: OwnScope,
  source = 'INMESH_ALLOW',
  origin: Origin = Object.freeze({ source, line: 0, column: 0 }),
): AuthorizationPolicy {
  const principals: string[] = [];
  const problems: string[] = [];
  for (const item of namesOf(text, source)) {
    try {
      principals.push(principalOf(item, own));
    } catch (error) {
      problems.push(`${source}: ${show(item)}: ${messageOf(error)}`);
    }
  }
  if (problems.length > 0) throw new MeshError('INMESH_ERR_CONFIG_INVALID', problems.join('\n'));
  return Object.freeze({
    name: 'inmesh-allow',
    namespace: own.namespace,
    action: 'ALLOW',
    selector: {},
    rules: Object.freeze([{ from: [{ principals: Object.freeze(principals) }], origin }]),
    origin,
  });
}
