import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Context, Line } from './context.js';
import { check, peerFiles, until } from './harness.js';
import { call, checkTree, type Span, spanCount, startHops } from './lines-traces.js';
import { collectorBinary } from './peers.js';

/** OTLP/JSON, as far as it is looked at. */
interface Exported {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string };
      readonly spans: readonly ExportedSpan[];
    }[];
  }[];
}

interface Attribute {
  readonly key: string;
  /** Integers are written as texts. */
  readonly value: { readonly stringValue?: string; readonly intValue?: string };
}

interface ExportedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  /** 1 within the process, 2 server, 3 client. */
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
  readonly status: { readonly code?: number };
}

interface CollectedSpan extends Span {
  readonly service: string | number | undefined;
  readonly scope: string;
  readonly status: number;
  readonly tookNs: bigint;
}

function attributesOf(attributes: readonly Attribute[]): Readonly<Record<string, string | number>> {
  return Object.fromEntries(
    attributes.map(({ key, value: { stringValue, intValue } }) => {
      const value = intValue === undefined ? stringValue : Number(intValue);
      check(value !== undefined, `${key} is neither a text nor an integer`);
      return [key, value];
    }),
  );
}

/** What the collector wrote; its last line may be half there. */
function readCollected(file: string): readonly CollectedSpan[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines
    .flatMap((line) => (JSON.parse(line) as Exported).resourceSpans)
    .flatMap(({ resource, scopeSpans }) => {
      const service = attributesOf(resource.attributes)['service.name'];
      return scopeSpans.flatMap(({ scope, spans }) =>
        spans.map(({ parentSpanId, kind, attributes, status, ...span }) => ({
          ...span,
          // Left out or empty: there is none.
          ...(parentSpanId ? { parentId: parentSpanId } : {}),
          kind: kind - 1,
          attributes: attributesOf(attributes),
          status: status.code ?? 0,
          service,
          scope: scope.name,
          tookNs: BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano),
        })),
      );
    });
}

const http = { 'http.request.method': 'GET', 'network.protocol.version': '1.1' };
const rpc = { 'rpc.system.name': 'grpc', 'rpc.method': 'acceptance.Hops/Middle' };
const rpcOk = { ...rpc, 'rpc.response.status_code': 'OK' };
const toLast = { ...http, 'server.address': 'last' };
const attemptAtLast = { ...toLast, 'server.port': 80, 'url.full': 'http://last/headers' };
const inbound = { 'url.path': '/headers', 'url.scheme': 'https' };
const unavailable = { 'http.response.status_code': 503, 'error.type': '503' };
const good = { 'http.response.status_code': 200 };
const identity = 'spiffe://dev.local/ns/default/sa/';

/** Service, kind, name, status and all attributes of each span but the addresses of peers. */
const expected: readonly (readonly [string, number, string, number, Readonly<Record<string, unknown>>])[] = [
  [
    'first',
    1,
    'GET',
    0,
    { ...http, ...inbound, ...good, 'url.path': '/', 'inmesh.peer.id': `${identity}web` },
  ],
  [
    'first',
    0,
    'acceptance.Hops/Middle middle',
    0,
    { ...rpcOk, 'server.address': 'middle', 'inmesh.attempts': 1 },
  ],
  ['first', 2, 'acceptance.Hops/Middle', 0, { ...rpcOk, 'server.address': 'middle' }],
  ['middle', 1, 'acceptance.Hops/Middle', 0, { ...rpcOk, 'inmesh.peer.id': `${identity}first` }],
  ['middle', 0, 'GET last', 0, { ...toLast, ...good, 'inmesh.attempts': 2 }],
  ['middle', 2, 'GET', 2, { ...attemptAtLast, ...unavailable }],
  ['middle', 2, 'GET', 0, { ...attemptAtLast, ...good, 'http.request.resend_count': 1 }],
  ['last', 1, 'GET', 2, { ...http, ...inbound, ...unavailable, 'inmesh.peer.id': `${identity}middle` }],
  ['last', 1, 'GET', 0, { ...http, ...inbound, ...good, 'inmesh.peer.id': `${identity}middle` }],
];

/** Checks each span after the semantic conventions. */
function checkConventions(spans: readonly CollectedSpan[]): void {
  const rest = spans.map(({ service, kind, name, status, attributes }) => {
    const { 'network.peer.address': address, 'network.peer.port': port, ...others } = attributes;
    const hasPeer = address === '127.0.0.1' && Number.isInteger(port) && Number(port) > 0;
    check(hasPeer === (kind !== 0), `${String(service)}, ${name}: the peer is ${address}:${port}`);
    return [service, kind, name, status, others];
  });
  for (const one of expected) {
    const index = rest.findIndex((found) => isDeepStrictEqual(found, one));
    check(index >= 0, `there is no ${JSON.stringify(one)} in ${JSON.stringify(rest)}`);
    rest.splice(index, 1);
  }
  check(rest.length === 0, `more than expected: ${JSON.stringify(rest)}`);
  for (const { name, scope, tookNs } of spans)
    check(scope === 'inmesh' && tookNs > 0n, `${name} is of ${scope} and took ${tookNs} ns`);
}

/** Starts the collector. @returns where it takes spans */
async function startCollector({ bench }: Context, spans: string): Promise<string> {
  const binary = collectorBinary();
  const config = bench.path('collector.yaml');
  const log = bench.path('collector.log');
  writeFileSync(
    config,
    readFileSync(join(peerFiles, 'collector.yaml'), 'utf8').replaceAll('{{SPANS}}', spans),
  );
  const child = bench.program(binary, ['--config', config], log);
  let port: string | undefined;
  await until('the collector is ready', 30_000, () => {
    const text = readFileSync(log, 'utf8');
    check(child.exitCode === null, `the collector ended: ${text.slice(-800)}`);
    [, port] = /Starting HTTP server.*"endpoint": "127\.0\.0\.1:(\d+)"/.exec(text) ?? [];
    return port !== undefined && text.includes('Everything is ready');
  });
  return `http://127.0.0.1:${port}`;
}

export const collected: Line = {
  title:
    'the spans of a call over HTTP, gRPC and HTTP, sent over OTLP, are one tree after the semantic conventions in an OpenTelemetry Collector',
  async run(context) {
    const file = context.bench.path('collected.jsonl');
    const endpoint = await startCollector(context, file);
    const first = await startHops(context, {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_BSP_SCHEDULE_DELAY: '100',
    });
    const seen = await call(context, first);
    let spans: readonly CollectedSpan[] = [];
    await until('every span is with the collector', 20_000, () => {
      spans = readCollected(file);
      return spans.length >= spanCount;
    });
    const attempts = checkTree(spans, seen);
    checkConventions(spans);
    return `${spans.length} spans of ${new Set(spans.map(({ service }) => service)).size} services, ${attempts} attempts at the last hop`;
  },
};
