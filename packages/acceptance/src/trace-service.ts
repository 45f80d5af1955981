// One of three hops, HTTP, gRPC and HTTP. With SPANS it has the SDK of OpenTelemetry, which writes its spans to that file;
// with OTEL_EXPORTER_OTLP_ENDPOINT the SDK sends them there, with the exporter and in the batches of a real service.
import { appendFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  Client,
  type MethodDefinition,
  Server,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  SimpleSpanProcessor,
  type SpanExporter,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { createMesh } from 'inmesh';

/** Writes each span as a line. */
function fileExporter(file: string): SpanExporter {
  return {
    export(batch, done) {
      for (const span of batch) {
        const { spanId, traceId } = span.spanContext();
        const parentId = span.parentSpanContext?.spanId;
        const { name, kind, attributes } = span;
        appendFileSync(file, `${JSON.stringify({ traceId, spanId, parentId, name, kind, attributes })}\n`);
      }
      done({ code: 0 });
    },
    shutdown: () => Promise.resolve(),
  };
}

function registerSdk(processor: SpanProcessor): void {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  const resource = resourceFromAttributes({ 'service.name': process.env['INMESH_SERVICE_NAME'] });
  trace.setGlobalTracerProvider(new BasicTracerProvider({ resource, spanProcessors: [processor] }));
}

const spans = process.env['SPANS'];
if (spans !== undefined) registerSdk(new SimpleSpanProcessor(fileExporter(spans)));
else if (process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] !== undefined)
  registerSdk(new BatchSpanProcessor(new OTLPTraceExporter()));

const mesh = await createMesh();
const middle: MethodDefinition<string, string> = {
  path: '/acceptance.Hops/Middle',
  requestStream: false,
  responseStream: false,
  requestSerialize: (text) => Buffer.from(text),
  requestDeserialize: (bytes) => bytes.toString(),
  responseSerialize: (text) => Buffer.from(text),
  responseDeserialize: (bytes) => bytes.toString(),
};
let asked = 0;
let client: Client | undefined;

const rpc = new Server();
rpc.addService(
  { Middle: middle },
  {
    Middle(_call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) {
      mesh
        .fetch('http://last/headers')
        .then(async (reply) => done(null, await reply.text()))
        .catch((error: Error) => done({ code: 13, details: error.message }));
    },
  },
);

const server = mesh.serve((request: IncomingMessage, response: ServerResponse) => {
  if (request.url === '/headers') {
    // Its first answer is none: the caller tries again.
    if (asked++ === 0) response.writeHead(503);
    response.end(JSON.stringify(request.headers));
    return;
  }
  client ??= new Client('mesh:///middle', mesh.grpc.credentials(), mesh.grpc.channelOptions());
  const { path, requestSerialize, responseDeserialize } = middle;
  client.makeUnaryRequest(path, requestSerialize, responseDeserialize, 'x', (error, text) =>
    response.writeHead(error === null ? 200 : 502).end(error?.message ?? text),
  );
});
server.addGrpc(rpc);
const { port } = await server.listen(0, '127.0.0.1');
process.send?.({ name: mesh.config.values.serviceName, pid: process.pid, host: '127.0.0.1', port });
