import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { curl } from './clients.js';
import type { Context, Line } from './context.js';
import { check, type Service, until } from './harness.js';

const script = fileURLToPath(new URL('trace-service.js', import.meta.url));

const traceId = '0af7651916cd43dd8448eb211c80319c';
/** As a program with a tracer of its own sends them. */
const sent: Readonly<Record<string, string>> = {
  traceparent: `00-${traceId}-b7ad6b7169203331-01`,
  tracestate: 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE',
  baggage: 'userId=alice,isProduction=false',
  b3: `${traceId}-b7ad6b7169203331-1`,
  'x-request-id': 'a5c1-17',
};

/** A span as the SDK or a collector wrote it. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId?: string;
  readonly name: string;
  /** 0 within the process, 1 server, 2 client. */
  readonly kind: number;
  readonly attributes: Readonly<Record<string, string | number>>;
}

/** Starts the three hops, each with `sdk` in its environment. @returns the first */
export async function startHops(
  { bench, fleet }: Context,
  sdk: Readonly<Record<string, string>> = {},
): Promise<Service> {
  const start = (name: string, env: Readonly<Record<string, string>> = {}): Promise<Service> =>
    bench.service(
      name,
      {
        INMESH_DEV_CA_DIR: fleet.caDir,
        INMESH_RETRY_ON: '5xx',
        ...sdk,
        ...env,
      },
      bench.dir,
      script,
    );
  const last = await start('last');
  const middle = await start('middle', { INMESH_UPSTREAM_LAST: `127.0.0.1:${last.port}` });
  return await start('first', { INMESH_UPSTREAM_MIDDLE: `127.0.0.1:${middle.port}` });
}

/** Calls the first with curl. @returns the headers that came to the last */
export async function call({ web }: Context, { port }: Service): Promise<Readonly<Record<string, string>>> {
  const flags = Object.entries(sent).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const { status, body } = await curl(web, port, '/', ...flags);
  check(status === 200, `${status} ${body}`);
  return JSON.parse(body) as Record<string, string>;
}

function readSpans(file: string): readonly Span[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Span);
}

/** How many there are: 3 inbound calls and one more for the attempt that failed, 2 outbound calls, 3 attempts. */
export const spanCount = 9;

/** Checks that they are one tree below curl. @returns how many attempts there were at the last hop */
export function checkTree(spans: readonly Span[], seen: Readonly<Record<string, string>>): number {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const roots = spans.filter(({ parentId }) => parentId === undefined || !ids.has(parentId));
  const [root] = roots;
  check(spans.length === spanCount && ids.size === spanCount, `${spans.length} spans`);
  check(
    spans.every((span) => span.traceId === traceId),
    'they are not of one trace',
  );
  check(roots.length === 1 && root?.parentId === 'b7ad6b7169203331', 'they are not one tree below curl');
  const attempts = spans.filter(
    ({ kind, attributes }) => kind === 2 && attributes['server.address'] === 'last',
  );
  const statuses = attempts.map(({ attributes }) => attributes['http.response.status_code']).toSorted();
  check(statuses.join(' ') === '200 503', `attempts: ${statuses.join(' ')}`);
  // Each hop below an attempt of the one before, and each attempt below its call.
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  for (const { kind, parentId } of spans) {
    const parent = byId.get(parentId ?? '');
    if (parent === undefined) continue;
    const above = { 0: 1, 1: 2, 2: 0 }[kind];
    check(parent.kind === above, `a span of kind ${kind} is below one of kind ${parent.kind}`);
  }
  const good = attempts.find(({ attributes }) => attributes['http.response.status_code'] === 200);
  check(seen['traceparent'] === `00-${traceId}-${good?.spanId}-01`, 'the last hop is not below its attempt');
  return attempts.length;
}

async function readTree(context: Context): Promise<string> {
  const file = context.bench.path('spans.jsonl');
  const seen = await call(context, await startHops(context, { SPANS: file }));
  let spans: readonly Span[] = [];
  await until('every span is there', 10_000, () => {
    spans = readSpans(file);
    return spans.length >= spanCount;
  });
  const attempts = checkTree(spans, seen);
  return `with an SDK one tree of ${spans.length} spans, ${attempts} attempts at the last hop`;
}

export const traces: Line = {
  title:
    'a call over HTTP, gRPC and HTTP: with an SDK one tree with attempts, without one the headers of traces arrive unchanged',
  async run(context) {
    const seen = await call(context, await startHops(context));
    for (const [name, value] of Object.entries(sent))
      check(seen[name] === value, `${name} arrived as ${seen[name]}`);
    return `${Object.keys(sent).length} headers unchanged; ${await readTree(context)}`;
  },
};
