import { type Call, contextKey, type Headers } from '@inmesh/core';

type Field = readonly [name: string, value: string];

/** W3C Trace Context, level 1: version, trace, parent, flags. A later version may have more behind them. */
const traceParent =
  /^(?!ff|00.{53}-)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:$|-)/;

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

const traceSet: ReadonlySet<string> = new Set(traceNames);
const otherSet: ReadonlySet<string> = new Set(otherNames);
/** First letters of all of them, in either case: most headers of a request begin with others. */
const firstLetters: ReadonlySet<number> = new Set(
  ['b', 'B', 't', 'T', 'x', 'X'].map((letter) => letter.charCodeAt(0)),
);

/** Looks once over the headers: this is done for most calls, and most bring nothing. */
function read(headers: Headers): Carried {
  let trace: Field[] | undefined;
  let others: Field[] | undefined;
  headers.forEach((name, value) => {
    if (!firstLetters.has(name.charCodeAt(0))) return;
    const lower = name.toLowerCase();
    if (traceSet.has(lower)) (trace ??= []).push([lower, value]);
    else if (otherSet.has(lower)) (others ??= []).push([lower, value]);
  });
  if (trace === undefined && others === undefined) return nothing;
  return { trace: checked(trace ?? []), others: others ?? [] };
}

/** What is no parent says nothing, and its state belongs to nothing. Trace Context §3.2.2, §4.2. */
function checked(fields: readonly Field[]): readonly Field[] {
  const parents = fields.filter(([name]) => name === 'traceparent');
  const isWhole = parents.length === 1 && traceParent.test(parents[0]?.[1] ?? '');
  return isWhole ? fields : fields.filter(([name]) => !name.startsWith('trace'));
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
