import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Hops, startHops } from './hops.js';

const exporter = new InMemorySpanExporter();

/** A span with what is below it: kind, name, and children in the order of their start. */
function treeOf(span: ReadableSpan, all: readonly ReadableSpan[]): unknown {
  const children = all
    .filter(({ parentSpanContext }) => parentSpanContext?.spanId === span.spanContext().spanId)
    .toSorted((one, other) => one.startTime[0] - other.startTime[0] || one.startTime[1] - other.startTime[1]);
  return [`${SpanKind[span.kind]} ${span.name}`, ...children.map((child) => treeOf(child, all))];
}

describe('with a tracer', () => {
  let dir: string;
  let hops: Hops;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-spans-'));
    // Started before there is a tracer: one that comes late is seen all the same.
    hops = await startHops(dir, 1);
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(
      new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
    );
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
    );
  });
  afterAll(async () => {
    await hops.close();
    await rm(dir, { recursive: true, force: true });
    trace.disable();
    context.disable();
    propagation.disable();
  });
  beforeEach(() => exporter.reset());
  afterEach(() => exporter.reset());

  const call = async (headers: Record<string, string> = {}): Promise<readonly ReadableSpan[]> => {
    const reply = await hops.caller.fetch('http://first/', { headers });
    expect(await reply.text()).toBe('last');
    const isDone = (): boolean => exporter.getFinishedSpans().some(({ name }) => name === 'GET first');
    while (!isDone()) await new Promise(setImmediate);
    await new Promise(setImmediate);
    return exporter.getFinishedSpans();
  };

  it('three hops are one tree, with an attempt that failed and the one that did not', async () => {
    const spans = await call();
    const root = spans.find(({ parentSpanContext }) => parentSpanContext === undefined);
    expect(root && treeOf(root, spans)).toEqual([
      'INTERNAL GET first',
      [
        'CLIENT GET',
        [
          'SERVER GET',
          [
            'INTERNAL test.Hops/Middle middle',
            [
              'CLIENT test.Hops/Middle',
              [
                'SERVER test.Hops/Middle',
                ['INTERNAL GET last', ['CLIENT GET', ['SERVER GET']], ['CLIENT GET', ['SERVER GET']]],
              ],
            ],
          ],
        ],
      ],
    ]);
    expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1);
    const toLast = spans.filter(
      ({ kind, attributes }) => kind === SpanKind.CLIENT && attributes['server.address'] === 'last',
    );
    expect(toLast.map(({ attributes }) => attributes['http.response.status_code']).toSorted()).toEqual([
      200, 503,
    ]);
    expect(toLast.map(({ attributes }) => attributes['http.request.resend_count']).toSorted()).toEqual([
      1,
      undefined,
    ]);
    expect(toLast.map(({ status }) => status.code).toSorted()).toEqual([
      SpanStatusCode.UNSET,
      SpanStatusCode.ERROR,
    ]);
  });

  it('follows the semantic conventions', async () => {
    const spans = await call();
    const server = spans.find(({ kind, name }) => kind === SpanKind.SERVER && name === 'test.Hops/Middle');
    expect(server?.attributes).toMatchObject({
      'rpc.system.name': 'grpc',
      'rpc.method': 'test.Hops/Middle',
      'rpc.response.status_code': 'OK',
      'network.peer.address': '127.0.0.1',
      'inmesh.peer.id': 'spiffe://dev.local/ns/default/sa/first',
    });
    const client = spans.find(
      ({ kind, attributes }) => kind === SpanKind.CLIENT && attributes['server.address'] === 'last',
    );
    expect(client?.attributes).toMatchObject({
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'url.full': 'http://last/item/1',
      'server.port': 80,
      'network.peer.address': '127.0.0.1',
      'network.protocol.version': '1.1',
    });
  });

  it('is found from the metrics of the service', async () => {
    const [span] = await call();
    expect(await hops.first.metricsText('openmetrics')).toContain(
      `# {trace_id="${span?.spanContext().traceId}"}`,
    );
    expect(await hops.first.metricsText()).not.toContain('trace_id');
  });

  it('joins the trace of its caller, respects that it is not sampled, and carries baggage', async () => {
    const traceId = 'c'.repeat(32);
    const baggage = 'userId=alice';
    // As a program without a tracer sends it: straight to the first, over the mesh of the caller.
    const spans = await context.with(
      trace.setSpanContext(propagation.extract(context.active(), { baggage }), {
        traceId,
        spanId: 'd'.repeat(16),
        traceFlags: 1,
        isRemote: true,
      }),
      () => call(),
    );
    expect(new Set(spans.map((span) => span.spanContext().traceId))).toEqual(new Set([traceId]));
    expect(hops.seen()['baggage']).toBe(baggage);
    expect(String(hops.seen()['traceparent'])).toMatch(new RegExp(`^00-${traceId}-`));
    exporter.reset();
    await context.with(
      trace.setSpanContext(context.active(), {
        traceId,
        spanId: 'd'.repeat(16),
        traceFlags: 0,
        isRemote: true,
      }),
      async () => void (await (await hops.caller.fetch('http://first/')).text()),
    );
    expect(exporter.getFinishedSpans()).toEqual([]);
    expect(String(hops.seen()['traceparent'])).toMatch(new RegExp(`^00-${traceId}-.*-00$`));
  });
});
