import { compilePolicies } from '@inmesh/authz';
import {
  FlatHeaders,
  parseSpiffeId,
  parseTrustDomain,
  silentLogger,
  systemRuntime,
  unknownConnection,
} from '@inmesh/core';
import { checkLeaf, createStaticIdentity, parseCertificate } from '@inmesh/identity';
import { createTestCa } from '@inmesh/identity/testing';
import fc from 'fast-check';
import { promise, refusable, type Target, target } from './target.js';
import { soup, spoiled, spoiledBytes } from './texts.js';

const origin = { source: 'fuzz', line: 1, column: 1 };
const facts = {
  method: 'GET',
  path: '/',
  authority: 'a',
  connection: { ...unknownConnection, remoteIp: '10.0.0.9' },
};
const workload = { service: 'a', namespace: 'default', trustDomain: 'dev.local', labels: {} };
const pem = [
  '-----BEGIN CERTIFICATE-----\n',
  '-----END CERTIFICATE-----\n',
  '-----',
  '\n',
  '=',
  'AAAA',
  '\0',
];
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

/** What proves or names an identity. */
export async function identityTargets(): Promise<readonly Target[]> {
  const ca = await createTestCa('dev.local');
  const { certPem, keyPem } = await ca.issue('/ns/default/sa/web');
  const bundles = new Map([[ca.trustDomain, ca.bundlePem]]);
  const der = [certPem, ca.bundlePem].map((text) =>
    Buffer.from(text.replaceAll(/-----[^-]*-----|\s/g, ''), 'base64'),
  );
  return [
    target(
      'certificate',
      fc.oneof(
        spoiledBytes(...der),
        fc.uint8Array().map((one) => Buffer.from(one)),
      ),
      (bytes) => {
        const found = refusable(() => parseCertificate(bytes));
        if (found === undefined) return;
        promise(found.der.equals(bytes), 'all of it was read');
        promise(Number.isFinite(found.notAfterMs - found.notBeforeMs), 'its times are times');
        const id = refusable(() => checkLeaf(found));
        promise(id === undefined || (!found.isCa && found.uris[0] === id.uri), 'an identity is its one URI');
      },
    ),
    target(
      'pem',
      fc.tuple(spoiled(pem, certPem, ca.bundlePem), spoiled(pem, ca.bundlePem)),
      ([one, bundle]) => {
        const base = { keyPem, runtime: systemRuntime, logger: silentLogger };
        void refusable(() => createStaticIdentity({ ...base, certPem: one, bundles }).close());
        const texts = new Map([[ca.trustDomain, bundle]]);
        void refusable(() => createStaticIdentity({ ...base, certPem, bundles: texts }).close());
      },
    ),
    target(
      'spiffe id',
      fc.oneof(soup(...spiffe), spoiled(spiffe, 'spiffe://dev.local/ns/a/sa/b')),
      (text) => {
        const id = refusable(() => parseSpiffeId(text));
        if (id !== undefined) promise(`spiffe://${id.trustDomain}${id.path}` === text, 'it round-trips');
      },
    ),
    target('trust domain', soup(...spiffe), (text) => {
      const found = refusable(() => parseTrustDomain(text));
      if (found !== undefined) promise(/^[a-z0-9._-]+$/.test(found), 'it has the letters of a trust domain');
    }),
    target('ip block', fc.oneof(soup(...block), spoiled(block, '10.0.0.0/8', 'fe80::/10')), checkBlock),
  ];
}
