import {
  CallState,
  type ConnectionFacts,
  createIntroduction,
  FlatHeaders,
  parseSpiffeId,
  unknownConnection,
} from '@inmesh/core';
import { PeerIntroductions, tracing } from '@inmesh/telemetry';
import fc, { type Arbitrary } from 'fast-check';
import { promise, type Target, target } from './target.js';
import { soup, spoiled, spoiledBytes } from './texts.js';

const workload = {
  service: 'web',
  namespace: 'shop',
  trustDomain: 'dev.local',
  labels: { app: 'web', version: 'v2' },
  name: 'web-v2',
  cluster: 'east',
};
const [[, said] = ['', '']] = new PeerIntroductions(workload).own;
const id = parseSpiffeId('spiffe://dev.local/ns/shop/sa/web');
const peer = { id, notAfterMs: 0, fingerprint: '', serial: '', trustEpoch: 0 };
const labelValue = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

/** Structs in structs, groups in groups: what a reader that calls itself runs out of stack by. */
const nested: Arbitrary<Buffer> = fc
  .tuple(
    fc.constantFrom(Buffer.from([0x0b]), Buffer.from([0x0a, 0x12]), Buffer.from([0x2a, 0x0a])),
    fc.nat(3000),
  )
  .map(([open, depth]) => Buffer.concat(Array.from({ length: depth }, () => open)));
const metadata = fc.oneof(
  spoiledBytes(Buffer.from(said, 'base64')).map((bytes) => bytes.toString('base64')),
  nested.map((bytes) => bytes.toString('base64')),
  fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString('base64')),
  spoiled(['=', '-', '\0', ' ', 'é'], said),
);

function checkMetadata(texts: readonly string[]): void {
  const introductions = new PeerIntroductions(workload);
  const introduction = createIntroduction();
  const connection: ConnectionFacts = { ...unknownConnection, isEncrypted: true, peer, introduction };
  for (const text of texts) {
    introductions.hear(connection, 'sidecar~', text);
    const { metadata: heard } = introduction;
    for (const value of Object.values<string | undefined>({ ...heard }))
      promise(value === undefined || labelValue.test(value), 'what is heard can be a label');
    promise(heard?.namespace === undefined || heard.namespace === 'shop', 'a namespace is the proven one');
  }
}

const parent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
const hex = ['00', '01', 'ff', '-', '0'.repeat(32), '0'.repeat(16), 'A', 'g', ' ', ','];
const fieldName = fc.constantFrom(
  'traceparent',
  'Traceparent',
  'tracestate',
  'b3',
  'X-B3-TraceId',
  'baggage',
  'x-request-id',
  'authorization',
  'cookie',
  'trace',
);
const carried = /^(?:traceparent|tracestate|b3|x-b3-.*|baggage|x-request-id)$/;
// Trace Context §3.2.2: a version that is known has nothing behind the flags.
const wholeParent =
  /^(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?)$/s;

function callWith(lines: readonly (readonly [string, string])[]): CallState {
  return new CallState({
    side: 'server',
    protocol: 'http1',
    facts: { method: 'GET', path: '/', authority: 'a', connection: unknownConnection },
    headers: new FlatHeaders(lines.flat()),
    startedMs: 0,
    onCancel: () => {},
  });
}

function checkCarried(lines: readonly (readonly [string, string])[]): void {
  const sent = new FlatHeaders([]);
  tracing.carry(sent, callWith(lines), undefined);
  sent.forEach((name, value) => {
    promise(carried.test(name), 'nothing else is carried');
    promise(
      lines.some(([one, text]) => one.toLowerCase() === name && text === value),
      'nothing is made up',
    );
  });
  const parents = sent.all('traceparent');
  promise(parents.length <= 1 && parents.every((one) => wholeParent.test(one)), 'a parent is a parent');
  promise(parents.length === 1 || !sent.has('tracestate'), 'a state belongs to a parent');
}

/** What peers say of themselves and of the trace. */
export const telemetryTargets: readonly Target[] = [
  target('peer metadata', fc.array(metadata, { maxLength: 4 }), checkMetadata),
  target(
    'trace headers',
    fc.array(fc.tuple(fieldName, fc.oneof(spoiled(hex, parent, `01${parent.slice(2)}-x`), soup(...hex))), {
      maxLength: 5,
    }),
    checkCarried,
  ),
];
