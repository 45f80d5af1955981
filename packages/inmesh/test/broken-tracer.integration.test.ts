import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Context,
  type ContextManager,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { afterEach, describe, expect, it } from 'vitest';
import { type Hops, startHops } from './hops.js';

const broken = (): never => {
  throw new Error('broken');
};

/** A provider of which one method throws. */
function providerOf(fault: string): TracerProvider {
  const whole = {
    setAttribute: () => span,
    setAttributes: () => span,
    setStatus: () => span,
    updateName: () => span,
    end() {},
    isRecording: () => true,
    spanContext: () => ({ traceId: '1'.repeat(32), spanId: '2'.repeat(16), traceFlags: 1 }),
  };
  const span = { ...whole, ...(fault in whole ? { [fault]: broken } : {}) } as unknown as Span;
  const tracer = { startSpan: fault === 'startSpan' ? broken : () => span, startActiveSpan: broken };
  return { getTracer: fault === 'getTracer' ? broken : () => tracer } as unknown as TracerProvider;
}

/** A manager of contexts that throws before it runs something, or after. */
function managerOf(fault: string): ContextManager {
  const manager = {
    active: fault === 'active' ? broken : () => ROOT_CONTEXT,
    with(_context: Context, run: (...args: unknown[]) => unknown, self: unknown, ...args: unknown[]) {
      if (fault === 'with before') broken();
      const value = run.apply(self, args);
      return fault === 'with after' ? broken() : value;
    },
    bind: (_context: Context, target: unknown) => target,
    enable: () => manager,
    disable: () => manager,
  };
  return manager as unknown as ContextManager;
}

describe('a tracer that throws', () => {
  let dir: string | undefined;
  let hops: Hops | undefined;
  afterEach(async () => {
    await hops?.close();
    if (dir !== undefined) await rm(dir, { recursive: true, force: true });
    trace.disable();
    context.disable();
    propagation.disable();
  });

  it.each([
    'getTracer',
    'startSpan',
    'setAttribute',
    'setStatus',
    'end',
    'spanContext',
    'extract',
    'inject',
    'active',
    'with before',
    'with after',
  ])('fails no call over HTTP and gRPC, and holds up no close: %s', async (fault) => {
    trace.setGlobalTracerProvider(providerOf(fault));
    context.setGlobalContextManager(managerOf(fault));
    propagation.setGlobalPropagator({
      inject: fault === 'inject' ? broken : () => {},
      extract: fault === 'extract' ? broken : (given) => given,
      fields: () => [],
    });
    dir = await mkdtemp(join(tmpdir(), 'inmesh-broken-'));
    hops = await startHops(dir, 1);
    for (let i = 0; i < 2; i++) {
      const reply = await hops.caller.fetch('http://first/');
      expect([reply.status, await reply.text()]).toEqual([200, 'last']);
    }
    // Counted all the same, sizes too.
    const text = await hops.first.metricsText();
    for (const name of ['istio_requests_total', 'istio_response_bytes_count'])
      expect(text).toMatch(new RegExp(`^${name}\\{reporter="destination".*\\} 2$`, 'm'));
    await hops.close();
    hops = undefined;
  });
});
