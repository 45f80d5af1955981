import { Server } from 'node:http';
import { type Call, CallContext, contextKey, type Headers, type Layer, type RefusedCall } from '@inmesh/core';
import type { Attributes, Context, Span, TextMapGetter } from '@opentelemetry/api';
import { endServerSpan, methodOf, requestAttributes, rpcMethodOf } from './attributes.js';
import { lean } from './lean-context.js';
import { harmless, hasTracer, otel, runIn, tracer } from './otel.js';

/** An inbound call that is traced. */
interface ServerTrace {
  readonly span: Span;
  /** The span is the active one in it. */
  readonly context: Context;
}

const traceKey = contextKey<ServerTrace>('inmesh.server-trace');

const getter: TextMapGetter<Headers> = {
  get: (headers, name) => [...headers.all(name.toLowerCase())],
  keys(headers) {
    const names: string[] = [];
    headers.forEach((name) => void names.push(name));
    return names;
  },
};

/** Whether the instrumentation of node:http makes spans of requests itself; it marks what it wraps. */
function isInstrumented(): boolean {
  return (Server.prototype.emit as { readonly __wrapped?: boolean }).__wrapped === true;
}

/** Kind of a span of the API. */
const serverKind = 1;

function serverAttributes(call: Call): Attributes {
  const { facts, protocol } = call;
  const { isEncrypted, peer, remoteIp, remotePort } = facts.connection;
  const attributes = requestAttributes(call);
  if (protocol !== 'grpc') {
    attributes['url.path'] = facts.path;
    attributes['url.scheme'] = isEncrypted ? 'https' : 'http';
  }
  attributes['network.peer.address'] = remoteIp;
  attributes['network.peer.port'] = remotePort;
  if (peer !== undefined) attributes['inmesh.peer.id'] = peer.id.uri;
  return attributes;
}

function startSpan(call: Call): ServerTrace {
  const { propagation, trace, ROOT_CONTEXT } = otel();
  const { facts, protocol } = call;
  const parent = propagation.extract(lean(ROOT_CONTEXT), call.headers, getter);
  const span = tracer().startSpan(
    protocol === 'grpc' ? rpcMethodOf(facts) : methodOf(facts),
    { kind: serverKind, attributes: serverAttributes(call) },
    parent,
  );
  return { span, context: trace.setSpan(parent, span) };
}

/**
 * The layer that makes a span of each inbound call, where a tracer is registered and the instrumentation of node:http
 * does not do it already.
 *
 * @see {@link https://opentelemetry.io/docs/specs/semconv/http/http-spans/ | Semantic conventions}
 */
export function serverTrace(): Layer {
  return {
    role: 'trace',
    scope: 'call',
    why: 'what is refused belongs to a trace, too',
    before: ['metrics', 'authorize'],
    bind({ side }) {
      if (side !== 'server') return undefined;
      return {
        request(call) {
          if (!hasTracer() || (call.protocol !== 'grpc' && isInstrumented())) return undefined;
          const trace = harmless(() => startSpan(call));
          if (trace !== undefined) call.set(traceKey, trace);
          return undefined;
        },
        end(call, end) {
          const trace = call.get(traceKey);
          if (trace !== undefined) harmless(() => endServerSpan(trace.span, call, end));
        },
      };
    },
  };
}

/** Flag of a span that is recorded. */
const sampled = 1;

/** The trace that an inbound call is in, if its span is recorded. */
export function recordedTraceOf(call: RefusedCall): string | undefined {
  // What was refused before it became a call has no values.
  if (!('get' in call)) return undefined;
  const trace = (call as Call).get(traceKey);
  if (trace === undefined) return undefined;
  return harmless(() => {
    const { traceId, traceFlags } = trace.span.spanContext();
    return (traceFlags & sampled) === 0 ? undefined : traceId;
  });
}

/** A {@link CallContext} in which the span of the call is the active one. */
export class TracedContext extends CallContext {
  override run<R>(call: Call, handler: () => R): R {
    const trace = call.get(traceKey);
    if (trace === undefined) return super.run(call, handler);
    return super.run(call, () => runIn(() => trace.context, handler));
  }
}
