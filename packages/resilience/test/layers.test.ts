import {
  CallState,
  type ConnectionFacts,
  FlatHeaders,
  type Layer,
  type MeshError,
  type Phases,
  type Protocol,
  parseSpiffeId,
  type Verdict,
} from '@inmesh/core';
import { createManualRuntime, okEnd } from '@inmesh/core/testing';
import { describe, expect, it } from 'vitest';
import {
  deadline,
  forbidsRetry,
  formatDeadline,
  isRetryOfCaller,
  markExhausted,
  outboundDeadlineMs,
  parseDeadline,
  retryGuard,
} from '../src/index.js';
import { found } from './support.js';

const plain: ConnectionFacts = {
  peer: undefined,
  isEncrypted: false,
  remoteIp: '127.0.0.1',
  remotePort: 1,
  localIp: '127.0.0.1',
  localPort: 2,
  sni: '',
};
const trusted: ConnectionFacts = {
  ...plain,
  isEncrypted: true,
  peer: {
    id: parseSpiffeId('spiffe://dev.local/ns/default/sa/web'),
    notAfterMs: 0,
    fingerprint: '',
    serial: '',
    trustEpoch: 0,
  },
};

interface Inbound {
  readonly call: CallState;
  readonly cancelled: MeshError[];
}

function inbound(
  headers: readonly string[],
  { connection = trusted, protocol = 'http1' }: { connection?: ConnectionFacts; protocol?: Protocol } = {},
): Inbound {
  const cancelled: MeshError[] = [];
  const call = new CallState({
    side: 'server',
    protocol,
    facts: { method: 'GET', path: '/a', authority: 'a', connection },
    headers: new FlatHeaders([...headers]),
    startedMs: 0,
    onCancel: (reason) => void cancelled.push(reason),
  });
  return { call, cancelled };
}

function phasesOf(layer: Layer): Phases {
  return found(layer.bind({ side: 'server', protocol: 'http1' } as Parameters<Layer['bind']>[0]));
}

function request(phases: Phases, { call }: Inbound): Verdict {
  const verdict = phases.request?.(call);
  if (verdict instanceof Promise) throw new Error('must decide at once');
  return verdict;
}

describe('deadline()', () => {
  const header = 'x-envoy-expected-rq-timeout-ms';

  it('takes over what an authenticated caller leaves, and ends the call then', async () => {
    const runtime = createManualRuntime();
    const phases = phasesOf(deadline(runtime));
    const one = inbound([header, '300']);
    expect(request(phases, one)).toBeUndefined();
    expect(one.call.deadlineMs).toBe(300);
    await runtime.advance(299);
    expect(one.cancelled).toEqual([]);
    await runtime.advance(1);
    expect(one.cancelled.map(({ code, reached }) => [code, reached])).toEqual([
      ['INMESH_ERR_DEADLINE_EXCEEDED', 'maybe'],
    ]);
  });

  it('leaves no timer behind a call that ended', () => {
    const runtime = createManualRuntime();
    const phases = phasesOf(deadline(runtime));
    const one = inbound([header, '300']);
    void request(phases, one);
    expect(runtime.armed).toBe(1);
    phases.end?.(one.call, okEnd);
    expect(runtime.armed).toBe(0);
  });

  it('refuses what is late before any handler', () => {
    const runtime = createManualRuntime();
    const verdict = request(phasesOf(deadline(runtime)), inbound([header, '0']));
    expect(verdict).toMatchObject({
      kind: 'reject',
      error: { code: 'INMESH_ERR_DEADLINE_EXCEEDED', reached: 'refused' },
    });
    expect(runtime.armed).toBe(0);
  });

  it.each([
    ['a caller that proved nothing', [header, '300'], plain],
    ['no header', [], trusted],
    ['nonsense', [header, 'soon'], trusted],
    ['a negative time', [header, '-1'], trusted],
    ['a time beyond every sense', [header, '9'.repeat(20)], trusted],
  ])('leaves a call without an end for %s', (_what, headers, connection) => {
    const runtime = createManualRuntime();
    const one = inbound(headers, { connection });
    expect(request(phasesOf(deadline(runtime)), one)).toBeUndefined();
    expect([one.call.deadlineMs, runtime.armed]).toEqual([Number.POSITIVE_INFINITY, 0]);
  });

  it('leaves the timer to grpc-js, and still refuses what is late', async () => {
    const runtime = createManualRuntime();
    const phases = phasesOf(deadline(runtime));
    const one = inbound([header, '5'], { protocol: 'grpc' });
    one.call.tightenDeadline(100);
    expect([request(phases, one), runtime.armed, one.call.deadlineMs]).toEqual([undefined, 0, 100]);
    await runtime.advance(100);
    expect(request(phases, one)).toMatchObject({ kind: 'reject' });
  });

  it('is a layer of servers only', () => {
    const target = { side: 'client', protocol: 'http1' } as Parameters<Layer['bind']>[0];
    expect([deadline(createManualRuntime()).bind(target), retryGuard().bind(target)]).toEqual([
      undefined,
      undefined,
    ]);
  });
});

describe('deadlines on the wire', () => {
  it.each([
    [1300, 1000, '299'],
    [1001.9, 1000, undefined],
    [1002, 1000, '1'],
    [900, 1000, undefined],
  ])('formats what %d leaves at %d as %j', (deadlineMs, nowMs, text) => {
    expect(formatDeadline(deadlineMs, nowMs)).toBe(text);
  });

  it.each([
    ['300', 300],
    ['0', 0],
    ['', undefined],
    [undefined, undefined],
    ['1.5', undefined],
    ['1000000000', undefined],
  ])('parses %j as %j', (text, ms) => {
    expect(parseDeadline(text)).toBe(ms);
  });

  it('bounds an outbound call by its own total and by its parent', () => {
    const { call } = inbound([]);
    expect(outboundDeadlineMs(undefined, 0, 10)).toBe(Number.POSITIVE_INFINITY);
    expect(outboundDeadlineMs(call, 500, 10)).toBe(510);
    call.tightenDeadline(100);
    expect([outboundDeadlineMs(call, 500, 10), outboundDeadlineMs(call, 50, 10)]).toEqual([100, 60]);
  });
});

describe('retryGuard()', () => {
  it.each<[string, readonly string[], { connection?: ConnectionFacts; protocol?: Protocol }, boolean]>([
    ['a first attempt', ['x-envoy-attempt-count', '1'], {}, false],
    ['a second attempt', ['x-envoy-attempt-count', '2'], {}, true],
    ['a second attempt of a stranger', ['x-envoy-attempt-count', '2'], { connection: plain }, false],
    ['no count', [], {}, false],
    ['nonsense', ['x-envoy-attempt-count', 'many'], {}, false],
    ['a gRPC retry', ['grpc-previous-rpc-attempts', '1'], { protocol: 'grpc' }, true],
    ['a first gRPC call', ['grpc-previous-rpc-attempts', '0'], { protocol: 'grpc' }, false],
    ['the count of HTTP on gRPC', ['x-envoy-attempt-count', '2'], { protocol: 'grpc' }, false],
  ])('takes %s for what it is', (_what, headers, options, isRetry) => {
    const one = inbound(headers, options);
    expect(request(phasesOf(retryGuard()), one)).toBeUndefined();
    expect(isRetryOfCaller(one.call)).toBe(isRetry);
  });

  it('takes a call without parent for no retry', () => {
    expect(isRetryOfCaller(undefined)).toBe(false);
    expect(() => markExhausted(undefined)).not.toThrow();
  });

  it('lets adapters tell the caller that retries were spent', () => {
    const { call } = inbound([]);
    expect(forbidsRetry(call)).toBe(false);
    markExhausted(call);
    expect(forbidsRetry(call)).toBe(true);
  });
});
