import {
  type AttemptEnd,
  type AttemptTrace,
  type Call,
  type CallEnd,
  type CallTrace,
  statusFromGrpcNumber,
  type Tracing,
} from '@inmesh/core';
import type { Attributes, Context, Span, TextMapSetter } from '@opentelemetry/api';
import { endClientSpan, methodOf, requestAttributes, rpcMethodOf } from './attributes.js';
import { carryHeaders } from './carried-headers.js';
import { lean } from './lean-context.js';
import { harmless, hasTracer, otel, tracer, untraced } from './otel.js';

// Kinds of spans of the API.
const internalKind = 0;
const clientKind = 2;

function nameOf({ protocol, facts }: Call): string {
  return protocol === 'grpc' ? rpcMethodOf(facts) : methodOf(facts);
}

/** What an application asked for; a cluster has no port of its own, its URL has the one of its scheme. */
function addUrl(attributes: Attributes, { authority, path }: Call['facts']): void {
  const [, port = '80'] = /:(\d+)$/.exec(authority) ?? [];
  attributes['url.full'] = `http://${authority}${path}`;
  attributes['server.port'] = Number(port);
}

/** No spread: Node 20 takes microseconds for one, and samplers want these of every call. */
function attemptAttributes(call: Call, number: number, address: string): Attributes {
  const attributes = requestAttributes(call);
  const colon = address.lastIndexOf(':');
  attributes['server.address'] = call.cluster ?? '';
  attributes['network.peer.address'] = address.slice(0, colon);
  attributes['network.peer.port'] = Number(address.slice(colon + 1));
  if (call.protocol !== 'grpc') addUrl(attributes, call.facts);
  if (number > 1) attributes['http.request.resend_count'] = number - 1;
  return attributes;
}

function callAttributes(call: Call): Attributes {
  const attributes = requestAttributes(call);
  attributes['server.address'] = call.cluster ?? '';
  return attributes;
}

class Attempt implements AttemptTrace {
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly #call: Call;
  readonly #context: Context;
  readonly #span: Span;
  #hasEnded = false;

  constructor(call: Call, parent: Context, number: number, address: string) {
    const { propagation, trace } = otel();
    this.#call = call;
    this.#span = tracer().startSpan(
      nameOf(call),
      { kind: clientKind, attributes: attemptAttributes(call, number, address) },
      parent,
    );
    this.#context = trace.setSpan(parent, this.#span);
    const fields: [string, string][] = [];
    const setter: TextMapSetter<[string, string][]> = {
      set: (list, name, value) => void list.push([name.toLowerCase(), value]),
    };
    harmless(() => propagation.inject(this.#context, fields, setter));
    this.headers = fields;
  }

  run(send: () => void): void {
    untraced(this.#context, send);
  }

  end({ httpStatus, grpcStatus, error }: AttemptEnd): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const status = grpcStatus === undefined ? error?.status : statusFromGrpcNumber(grpcStatus);
    harmless(() => endClientSpan(this.#span, this.#call, { status, httpStatus, error }));
  }
}

/** Spans of a call and of its attempts. A caller that is sampled out costs as much as the SDK takes to say so. */
class ClientTrace implements CallTrace {
  readonly #caller: Context;
  #span: Span | undefined;
  #attempts = 0;

  constructor(caller: Context) {
    this.#caller = caller;
  }

  attempt(call: Call, number: number, address: string): AttemptTrace | undefined {
    this.#attempts = number;
    return harmless(() => {
      const context = otel().trace.setSpan(this.#caller, this.#spanOf(call));
      return new Attempt(call, context, number, address);
    });
  }

  end(call: Call, end: CallEnd): void {
    harmless(() => {
      const span = this.#spanOf(call);
      span.setAttribute('inmesh.attempts', this.#attempts);
      endClientSpan(span, call, end);
    });
  }

  /** The attempts are what is sent; the call around them stays within this process. */
  #spanOf(call: Call): Span {
    this.#span ??= tracer().startSpan(
      `${nameOf(call)} ${call.cluster ?? ''}`,
      { kind: internalKind, attributes: callAttributes(call) },
      this.#caller,
    );
    return this.#span;
  }
}

/**
 * Traces outbound calls where a tracer is registered, and passes traces on that belong to nobody here where none is.
 *
 * @see {@link https://www.w3.org/TR/trace-context/ | W3C Trace Context}
 */
export const tracing: Tracing = Object.freeze({
  begin: () => (hasTracer() ? harmless(() => new ClientTrace(lean(otel().context.active()))) : undefined),
  carry(headers, parent, trace) {
    if (parent !== undefined) carryHeaders(headers, parent, trace !== undefined);
  },
} satisfies Tracing);
