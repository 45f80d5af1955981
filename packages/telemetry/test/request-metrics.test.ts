import {
  type Call,
  type CallEnd,
  CallState,
  type ConnectionFacts,
  FlatHeaders,
  MeshError,
  type MeshErrorCode,
  type Protocol,
  parseSpiffeId,
  type Side,
  unknownConnection,
} from '@inmesh/core';
import { okEnd } from '@inmesh/core/testing';
import { describe, expect, it } from 'vitest';
import {
  ConnectionMetrics,
  Edges,
  type Family,
  MetricStore,
  RequestMetrics,
  renderMetrics,
  requestLabels,
  responseFlag,
} from '../src/index.js';

const workload = {
  service: 'orders',
  namespace: 'shop',
  trustDomain: 'dev.local',
  labels: { app: 'orders' },
};

function peerAt(uri: string): ConnectionFacts {
  return {
    ...unknownConnection,
    isEncrypted: true,
    peer: { id: parseSpiffeId(uri), notAfterMs: 0, fingerprint: '', serial: '', trustEpoch: 0 },
  };
}

interface Given {
  readonly side?: Side;
  readonly protocol?: Protocol;
  readonly connection?: ConnectionFacts;
  readonly cluster?: string;
  readonly path?: string;
  readonly end?: Partial<CallEnd>;
}

function createMetrics(maxSeries?: number, traceId?: string) {
  let nowMs = 0;
  const runtime = { now: () => nowMs, wallMs: () => 1_700_000_000_000 + nowMs };
  const store = new MetricStore({ runtime, ...(maxSeries === undefined ? {} : { maxSeries }) });
  const edges = new Edges({
    workload,
    principal: () => 'spiffe://dev.local/ns/shop/sa/orders',
    identitiesOf: (cluster) =>
      cluster === 'bank.money' ? [{ uri: 'spiffe://dev.local/ns/money/sa/bank' }] : [],
  });
  const metrics = new RequestMetrics({ store, edges, runtime, traceOf: () => traceId });
  const { layer } = metrics;
  const run = ({
    side = 'server',
    protocol = 'http1',
    connection,
    cluster,
    path = '/',
    end,
  }: Given): void => {
    const call: Call = new CallState({
      side,
      protocol,
      facts: { method: 'GET', path, authority: path, connection: connection ?? unknownConnection },
      headers: new FlatHeaders([]),
      cluster,
      startedMs: nowMs,
      onCancel: () => {},
    });
    nowMs += 7;
    const given: CallEnd = { ...okEnd, ...end };
    layer.bind({ side })?.end?.(call, given);
  };
  const series = () => {
    const total = store.read().find((one): one is Family => 'series' in one);
    return [...(total?.series ?? [])].map((one) => ({
      count: (one as { value?: number }).value,
      labels: Object.fromEntries(requestLabels.map((name, i) => [name, one.values[i]])),
    }));
  };
  return { run, series, store, edges, metrics };
}

describe('request metrics', () => {
  it('has every label of Istio on both sides', () => {
    const { run, series } = createMetrics();
    run({ connection: peerAt('spiffe://dev.local/ns/web/sa/front') });
    run({
      side: 'client',
      cluster: 'bank.money',
      protocol: 'grpc',
      end: { status: 'unavailable', httpStatus: 0 },
    });
    const [inbound, outbound] = series();
    for (const one of [inbound, outbound])
      expect(Object.values(one?.labels ?? {}).every((value) => value !== undefined)).toBe(true);
    expect(inbound?.labels).toMatchObject({
      reporter: 'destination',
      source_principal: 'spiffe://dev.local/ns/web/sa/front',
      source_workload_namespace: 'web',
      destination_workload: 'orders',
      destination_service: 'orders.shop.svc.cluster.local',
      request_protocol: 'http',
      response_code: '200',
      grpc_response_status: '',
      response_flags: '-',
      connection_security_policy: 'mutual_tls',
    });
    expect(outbound?.labels).toMatchObject({
      reporter: 'source',
      source_workload: 'orders',
      destination_principal: 'spiffe://dev.local/ns/money/sa/bank',
      destination_service: 'bank.money.svc.cluster.local',
      destination_service_name: 'bank',
      destination_service_namespace: 'money',
      request_protocol: 'grpc',
      grpc_response_status: '14',
    });
  });

  it('makes no series of hosts, paths and methods', () => {
    const { run, series } = createMetrics();
    for (let i = 0; i < 1000; i++) run({ path: `/${i}` });
    expect(series()).toMatchObject([{ count: 1000 }]);
  });

  it('tells plaintext from mTLS, statuses and errors apart, and counts likes together', () => {
    const { run, series } = createMetrics();
    const error = new MeshError('INMESH_ERR_CANCELLED', 'left');
    run({});
    run({ connection: peerAt('spiffe://dev.local/ns/web/sa/front') });
    run({ end: { httpStatus: 404, status: 'not-found' } });
    run({ end: { httpStatus: 0, status: 'cancelled', error } });
    run({ end: { httpStatus: 0, status: 'cancelled', error } });
    expect(
      series().map(({ count, labels }) => [
        count,
        labels['response_code'],
        labels['response_flags'],
        labels['connection_security_policy'],
      ]),
    ).toEqual([
      [1, '200', '-', 'none'],
      [1, '200', '-', 'mutual_tls'],
      [1, '404', '-', 'none'],
      [2, '0', 'DC', 'none'],
    ]);
  });

  it('counts on in the series that is there after an idle one was let go', () => {
    const { run, series, store } = createMetrics(1);
    run({});
    run({ end: { httpStatus: 500, status: 'internal' } });
    run({ end: { httpStatus: 501, status: 'unimplemented' } });
    store.read();
    expect(series().map(({ count, labels }) => [count, labels['response_code']])).toEqual([
      [1, '200'],
      [2, '__overflow__'],
    ]);
  });

  it('counts bytes of requests and replies', () => {
    const { run, store } = createMetrics();
    run({ end: { requestBytes: 200, responseBytes: 1500 } });
    run({ end: { requestBytes: 300, responseBytes: 0 } });
    const text = renderMetrics(store, 'prometheus');
    expect(text).toMatch(/^istio_request_bytes_sum\{.*\} 500$/m);
    expect(text).toMatch(/^istio_response_bytes_sum\{.*\} 1500$/m);
    expect(text).toMatch(/^istio_request_bytes_bucket\{.*le="250"\} 1$/m);
  });

  it('leads from a bucket to a trace, in OpenMetrics', () => {
    const { run, store } = createMetrics(undefined, 'a'.repeat(32));
    run({});
    const line = /^istio_request_duration_milliseconds_bucket\{.*le="10(?:\.0)?"\} 1(.*)$/m;
    expect(line.exec(renderMetrics(store, 'openmetrics'))?.[1]).toBe(
      ` # {trace_id="${'a'.repeat(32)}"} 7 1700000000.007`,
    );
    expect(line.exec(renderMetrics(store, 'prometheus'))?.[1]).toBe('');
    // The buckets above count it, too, and none of them is where it fell.
    expect(renderMetrics(store, 'openmetrics').match(/trace_id/g)).toHaveLength(1);
  });

  it('counts messages while a stream goes on, and each only once', () => {
    const { metrics, store } = createMetrics();
    const messages = { requests: 3, responses: 5 };
    const call = {
      side: 'client',
      protocol: 'grpc',
      facts: { method: 'POST', path: '/', authority: '', connection: unknownConnection },
      connection: undefined,
      cluster: 'bank.money',
      startedMs: 0,
      messages,
    } as const;
    const end = okEnd;
    const counted = () =>
      ['request', 'response'].map((name) =>
        Number(
          new RegExp(`^istio_${name}_messages_total\\{.*\\} (\\d+)$`, 'm').exec(
            renderMetrics(store, 'prometheus'),
          )?.[1],
        ),
      );
    metrics.countSoFar(call);
    expect(counted()).toEqual([3, 5]);
    metrics.countSoFar(call);
    messages.requests = 4;
    messages.responses = 9;
    metrics.count(call, end);
    expect(counted()).toEqual([4, 9]);
    metrics.count({ ...call, messages: { requests: 1, responses: 1 } }, end);
    expect(counted()).toEqual([5, 10]);
  });

  it('counts connections of which it sees only bytes, the open ones too', () => {
    const { store, edges } = createMetrics();
    const connections = new ConnectionMetrics(store, edges);
    let onClose = (): void => {};
    const connection = {
      bytesRead: 10,
      bytesWritten: 7,
      once: (_event: 'close', listener: () => void) => (onClose = listener),
    };
    connections.onOpen('bank.money', connection);
    const counted = () =>
      Object.fromEntries(
        [...renderMetrics(store, 'prometheus').matchAll(/^istio_tcp_(\w+)_total\{.*\} (\d+)$/gm)].map(
          ([, name, value]) => [name, Number(value)],
        ),
      );
    expect(counted()).toEqual({
      connections_opened: 1,
      connections_closed: 0,
      sent_bytes: 10,
      received_bytes: 7,
    });
    connection.bytesRead = 25;
    onClose();
    expect(counted()).toEqual({
      connections_opened: 1,
      connections_closed: 1,
      sent_bytes: 25,
      received_bytes: 7,
    });
  });

  it.each([
    ['client', 'INMESH_ERR_NO_ENDPOINT', 'UH'],
    ['client', 'INMESH_ERR_CONNECT_FAILED', 'UF'],
    ['client', 'INMESH_ERR_OVERFLOW', 'UO'],
    ['client', 'INMESH_ERR_CONNECTION_LOST', 'UC'],
    ['client', 'INMESH_ERR_HEAD_TIMEOUT', 'UT'],
    ['client', 'INMESH_ERR_NO_ROUTE', 'NR'],
    ['server', 'INMESH_ERR_DEADLINE_EXCEEDED', 'DT'],
    ['server', 'INMESH_ERR_CANCELLED', 'DC'],
    ['server', 'INMESH_ERR_AUTHZ_DENIED', '-'],
  ] satisfies [Side, MeshErrorCode, string][])('on the %s, %s is %s', (side, code, flag) => {
    expect(responseFlag(side, { error: new MeshError(code, 'x') })).toBe(flag);
  });

  it('says URX where attempts were used up, alone and behind what ended the call', () => {
    const error = new MeshError('INMESH_ERR_CONNECTION_LOST', 'x');
    const of = (end: Parameters<typeof responseFlag>[1]) => responseFlag('client', end);
    expect([
      of({ error: undefined, isRetryLimitReached: true }),
      of({ error, isRetryLimitReached: true }),
      of({ error, isRetryLimitReached: false }),
      of({ error: undefined }),
    ]).toEqual(['URX', 'UC,URX', 'UC', '-']);
  });

  it('tells calls apart that used up their attempts, in series that are few', () => {
    const { run, series } = createMetrics();
    const error = new MeshError('INMESH_ERR_CONNECT_FAILED', 'gone');
    for (let i = 0; i < 3; i++)
      for (const end of [{ httpStatus: 503 }, { httpStatus: 0, error }])
        for (const isRetryLimitReached of [true, false, undefined])
          run({ side: 'client', cluster: 'bank.money', end: { ...end, isRetryLimitReached } });
    expect(
      series().map(({ count, labels }) => [count, labels['response_code'], labels['response_flags']]),
    ).toEqual([
      [3, '503', 'URX'],
      [6, '503', '-'],
      [3, '503', 'UF,URX'],
      [6, '503', 'UF'],
    ]);
  });
});
