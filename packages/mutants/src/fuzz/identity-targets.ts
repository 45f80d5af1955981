import { compilePolicies } from '@inmesh/authz';
import { FlatHeaders, parseSpiffeId, parseTrustDomain, unknownConnection } from '@inmesh/core';
import fc from 'fast-check';
import { promise, refusable, type Target, target } from './target.js';
import { soup, spoiled } from './texts.js';

const origin = { source: 'fuzz', line: 1, column: 1 };
const facts = {
  method: 'GET',
  path: '/',
  authority: 'a',
  connection: { ...unknownConnection, remoteIp: '10.0.0.9' },
};
const workload = { service: 'a', namespace: 'default', trustDomain: 'dev.local', labels: {} };
const spiffe = ['spiffe://', 'dev.local', '/', '/ns/', '/sa/', '.', '..', '%', '?', '#', '@', ':', 'A', 'é'];
const block = ['10.0.0.0', '/', '8', '33', '::', '::1', '128', '0', '1', '.', ':', 'ffff', '%', '010'];

function checkBlock(text: string): void {
  const set = refusable(() =>
    compilePolicies(
      [
        {
          name: 'p',
          namespace: 'default',
          action: 'ALLOW',
          selector: {},
          rules: [{ from: [{ ipBlocks: [text] }], origin }],
          origin,
        },
      ],
      workload,
    ),
  );
  if (set === undefined) return;
  const { isAllowed } = set.decide(facts, new FlatHeaders([]));
  // What names no bits of 10/8 or fewer lets nobody of it in.
  if (isAllowed) promise(/^(?:10\.|[0-9.]+\/[0-8]$|.*:.*\/)/.test(text), 'a block holds what it says');
}

/** What names an identity. */
export const identityTargets: readonly Target[] = [
  target('spiffe id', fc.oneof(soup(...spiffe), spoiled(spiffe, 'spiffe://dev.local/ns/a/sa/b')), (text) => {
    const id = refusable(() => parseSpiffeId(text));
    if (id !== undefined) promise(`spiffe://${id.trustDomain}${id.path}` === text, 'it round-trips');
  }),
  target('trust domain', soup(...spiffe), (text) => {
    const found = refusable(() => parseTrustDomain(text));
    if (found !== undefined) promise(/^[a-z0-9._-]+$/.test(found), 'it has the letters of a trust domain');
  }),
  target('ip block', fc.oneof(soup(...block), spoiled(block, '10.0.0.0/8', 'fe80::/10')), checkBlock),
];
