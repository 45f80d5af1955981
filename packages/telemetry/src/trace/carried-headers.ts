import { type Call, contextKey, type Headers } from '@inmesh/core';

type Field = readonly [name: string, value: string];

/** W3C Trace Context, level 1: version, trace, parent, flags. A later version may have more behind them. */
const traceParent = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:$|-)/;

/** What says where a call belongs: W3C, and B3 in both of its forms. Whoever writes one of them means the trace. */
const traceNames: readonly string[] = [
  'traceparent',
  'tracestate',
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
];
/** What travels beside a trace, each for itself. */
const otherNames: readonly string[] = ['baggage', 'x-request-id'];

/** What an inbound call brought. */
interface Carried {
  readonly trace: readonly Field[];
  readonly others: readonly Field[];
}

const nothing: Carried = Object.freeze({ trace: [], others: [] });
const carriedKey = contextKey<Carried>('inmesh.carried-headers');

function fieldsOf(headers: Headers, names: readonly string[]): readonly Field[] {
  return names.flatMap((name) => headers.all(name).map((value): Field => [name, value]));
}

function read(headers: Headers): Carried {
  const parents = headers.all('traceparent');
  // What is no parent says nothing, and its state belongs to nothing. Trace Context §3.2.2, §4.2.
  const isWhole = parents.length === 1 && traceParent.test(parents[0] ?? '');
  const names = isWhole ? traceNames : traceNames.slice(2);
  const trace = fieldsOf(headers, names);
  const others = fieldsOf(headers, otherNames);
  return trace.length + others.length === 0 ? nothing : { trace, others };
}

/** What travels on of an inbound call; read once, however many calls are made in it. */
function carriedOf(parent: Call): Carried {
  let carried = parent.get(carriedKey);
  if (carried === undefined) {
    carried = read(parent.headers);
    parent.set(carriedKey, carried);
  }
  return carried;
}

function appendAll(headers: Headers, fields: readonly Field[]): void {
  for (const [name, value] of fields) headers.append(name, value);
}

/**
 * Copies to an outbound call what its inbound call brought of traces, unless the caller wrote some itself.
 *
 * @param isTraced - Whether somebody else says where the call belongs: then only what travels beside a trace is copied,
 * and of that only `x-request-id`, because baggage is the tracer's as well.
 */
export function carryHeaders(headers: Headers, parent: Call, isTraced: boolean): void {
  const { trace, others } = carriedOf(parent);
  if (!isTraced && trace.length > 0 && !traceNames.some((name) => headers.has(name)))
    appendAll(headers, trace);
  for (const field of others) {
    const [name] = field;
    if ((isTraced && name === 'baggage') || headers.has(name)) continue;
    headers.append(...field);
  }
}
