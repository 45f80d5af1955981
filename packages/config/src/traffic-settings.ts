import { defaultRetryConditions } from '@inmesh/core';
import { choice, duration, integer } from './kinds.js';
import { type Setting, setting } from './setting.js';
import { durationOrNone, localityKind, retryOnKind } from './traffic-kinds.js';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const most = 4_294_967_295;

/** Settings of outbound calls. Defaults are those of the rules in `@inmesh/resilience`; a test compares them. */
export const trafficSettings = [
  setting(
    'timeout',
    'TIMEOUT',
    durationOrNone(dayMs),
    15_000,
    'Longest wait for the head of a reply, over all attempts. Local: the peer is not told. Streams are not bounded.',
  ),
  setting(
    'deadline',
    'DEADLINE',
    durationOrNone(dayMs),
    0,
    'Bound on a whole call, to its last byte. It travels: the peer gets what is left of it.',
  ),
  setting(
    'retries',
    'RETRIES',
    integer(0, 9),
    2,
    'Attempts after the first; 0 never retries. gRPC caps attempts at 5 in all: more than 4 count as 4 there.',
  ),
  setting(
    'retryOn',
    'RETRY_ON',
    retryOnKind,
    Object.freeze({ conditions: defaultRetryConditions, statusCodes: Object.freeze([]) }),
    'When a call is sent again, as in Istio: conditions of Envoy and HTTP statuses. Calls that are not idempotent are sent again only if they provably reached no handler.',
  ),
  setting(
    'perTryTimeout',
    'PER_TRY_TIMEOUT',
    durationOrNone(hourMs),
    0,
    'Longest wait for the head of a reply in one attempt; no longer than `timeout` and `deadline`.',
  ),
  setting(
    'balancer',
    'BALANCER',
    choice('peak-ewma', 'least-request', 'round-robin', 'random'),
    'peak-ewma',
    'How an endpoint is picked.',
  ),
  setting(
    'clusterMaxConnections',
    'CLUSTER_MAX_CONNECTIONS',
    integer(1, most),
    1024,
    'Connections to all endpoints of one upstream; each endpoint may always have one. Agents get none beyond it.',
  ),
  setting(
    'clusterMaxPending',
    'CLUSTER_MAX_PENDING',
    integer(0, most),
    1024,
    'Calls to one upstream that wait for a connection; further ones fail at once. Those by agents are not counted.',
  ),
  setting(
    'clusterMaxRequests',
    'CLUSTER_MAX_REQUESTS',
    integer(1, most),
    1024,
    'Calls to one upstream in flight; further ones fail at once. Those by agents are not counted.',
  ),
  setting(
    'locality',
    'LOCALITY',
    localityKind,
    undefined,
    'Where this process runs; endpoints near to it come first.',
  ),
  setting(
    'dnsInterval',
    'DNS_INTERVAL',
    duration(1000, dayMs),
    30_000,
    'How often names of endpoints are looked up again, ±10 %; sooner after a failed lookup or connection.',
  ),
] as const satisfies readonly Setting[];
