import { compilePolicies, normalizeTarget } from '@inmesh/authz';
import { parsePolicyObject } from '@inmesh/config/policies';
import {
  CallState,
  cleanHeaders,
  FlatHeaders,
  parseSpiffeId,
  type RequestFacts,
  systemRuntime,
  unknownConnection,
  type Workload,
} from '@inmesh/core';
import { okEnd } from '@inmesh/core/testing';
import { Edges, MetricStore, RequestMetrics } from '@inmesh/telemetry';
import { nanoseconds } from './batches.js';
import { makePolicies } from './policies.js';
import { costRow, type Row } from './row.js';

function decisions(count: number): number {
  const workload: Workload = {
    service: 'server',
    namespace: 'default',
    trustDomain: 'dev.local',
    labels: {},
  };
  const set = compilePolicies(
    makePolicies(count).map((json, i) => parsePolicyObject(json, `p${i}`, { namespace: 'default' })),
    workload,
  );
  const peers = Array.from({ length: 64 }, (_, i) =>
    parseSpiffeId(`spiffe://dev.local/ns/default/sa/caller${i * 7}`),
  );
  const headers = new FlatHeaders(['host', 'server', 'x-team', 'red', 'accept', '*/*']);
  const facts = Array.from(
    { length: 1024 },
    (_, i): RequestFacts => ({
      method: i % 5 === 0 ? 'POST' : 'GET',
      path: i % 2 === 0 ? `/s${(i * 13) % count}/v1` : `/s${(i * 17) % count}/x/items`,
      authority: 'server',
      connection: {
        peer: {
          id: peers[i % 64] ?? parseSpiffeId('spiffe://x/y'),
          notAfterMs: 0,
          fingerprint: '',
          serial: '',
          trustEpoch: 0,
        },
        isEncrypted: true,
        remoteIp: '10.0.0.1',
        remotePort: 1,
        localIp: '10.0.0.2',
        localPort: 8443,
        sni: '',
      },
    }),
  );
  let allowed = 0;
  const ns = nanoseconds((i) => {
    const one = facts[i & 1023];
    if (one !== undefined && set.decide(one, headers).isAllowed) allowed++;
  });
  return allowed < 0 ? Number.NaN : ns;
}

/** What counting one inbound call costs, the clock of its end included. */
function counting(): number {
  const workload: Workload = {
    service: 'server',
    namespace: 'default',
    trustDomain: 'dev.local',
    labels: {},
  };
  const edges = new Edges({
    workload,
    principal: () => 'spiffe://dev.local/ns/default/sa/server',
    identitiesOf: () => [],
  });
  const store = new MetricStore({ runtime: systemRuntime });
  const { layer } = new RequestMetrics({ store, edges, runtime: systemRuntime });
  const phases = layer.bind({ side: 'server' });
  const startedMs = systemRuntime.now();
  const calls = Array.from(
    { length: 64 },
    (_, i) =>
      new CallState({
        side: 'server',
        protocol: 'http1',
        facts: {
          method: 'GET',
          path: '/',
          authority: 'server',
          connection: {
            ...unknownConnection,
            peer: {
              id: parseSpiffeId(`spiffe://dev.local/ns/default/sa/caller${i}`),
              notAfterMs: 0,
              fingerprint: '',
              serial: '',
              trustEpoch: 0,
            },
          },
        },
        headers: new FlatHeaders([]),
        startedMs,
        onCancel: () => {},
      }),
  );
  return nanoseconds((i) => {
    const call = calls[i & 63];
    if (call !== undefined) phases?.end?.(call, okEnd);
  });
}

/** The parts of a request that a listener adds, each for itself. */
export function micro(): readonly Row[] {
  const raw = [
    'Host',
    'server',
    'Connection',
    'keep-alive',
    'Accept',
    '*/*',
    'User-Agent',
    'bench',
    'X-Request-Id',
    '1234567890',
    'Accept-Encoding',
    'gzip',
    'Content-Type',
    'application/json',
    'Authorization',
    'Bearer abc',
  ];
  const spoofed = [...raw, 'x-forwarded-client-cert', 'URI=spiffe://x'];
  const row = (name: string, value: number, goal?: number): Row => costRow(name, value, 'ns', goal);
  return [
    row('authz.1000', decisions(1000), 1500),
    row('authz.10000', decisions(10_000), 4500),
    row('metrics', counting(), 300),
    row(
      'normalize.clean',
      nanoseconds(() => void normalizeTarget('/v1/orders/42/items?page=2', 'REJECT_ESCAPED_SLASHES')),
    ),
    row(
      'normalize.dirty',
      nanoseconds(() => void normalizeTarget('/v1//orders/./42/%7Eitems?page=2', 'REJECT_ESCAPED_SLASHES')),
    ),
    row(
      'headers.clean',
      nanoseconds(() => void cleanHeaders(new FlatHeaders(raw))),
    ),
    row(
      'headers.spoofed',
      nanoseconds(() => void cleanHeaders(new FlatHeaders([...spoofed]))),
    ),
  ];
}
