import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  type IncomingHttpHeaders,
} from 'node:http2';
import { connect } from 'node:net';
import { type MethodDefinition, Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import type { Layer } from '@inmesh/core';
import { createTestNetwork, type TestNetwork } from '@inmesh/testing';
import fc, { type Arbitrary } from 'fast-check';
import { promise, type Target } from './target.js';
import { soup, spoiled, spoiledBytes } from './texts.js';

const claims =
  /^(?:x-inmesh-.*|x-forwarded-client-cert|forwarded|client-cert.*|l5d-client-id|x-envoy-peer-metadata.*)$/i;

/** What a handler was given. */
interface Handed {
  readonly url: string;
  readonly rawHeaders: readonly string[];
}

const echo: MethodDefinition<Buffer, Buffer> = {
  path: '/fuzz.Echo/Unary',
  requestStream: false,
  responseStream: false,
  requestSerialize: (bytes) => bytes,
  requestDeserialize: (bytes) => bytes,
  responseSerialize: (bytes) => bytes,
  responseDeserialize: (bytes) => bytes,
};

/** A service that takes plaintext. */
class Service {
  handed: Handed[] = [];
  /** Calls that began and have not ended. */
  underWay = 0;
  port = 0;
  #network: TestNetwork | undefined;

  async open(): Promise<void> {
    this.#network = await createTestNetwork();
    const grpc = new Server();
    grpc.addService(
      { Unary: echo },
      {
        Unary: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
          done(null, call.request),
      },
    );
    const app = ({ url = '', rawHeaders }: Partial<Handed>, response: { end(text: string): void }): void => {
      this.handed.push({ url, rawHeaders: rawHeaders ?? [] });
      response.end('ok');
    };
    const counting: Layer = {
      role: 'fuzz.count',
      scope: 'call',
      why: 'a call that never ends takes a place for ever',
      bind: () => ({
        request: () => {
          this.underWay++;
          return undefined;
        },
        end: () => {
          this.underWay--;
        },
      }),
    };
    const options = { app, grpc, mtls: 'disable', layers: { inbound: [counting] } } as const;
    const { port } = await this.#network.join('fuzz', options);
    this.port = port;
  }

  async close(): Promise<void> {
    await this.#network?.close();
  }
}

const request = `POST /a/%2e%2e/b?x=/../y HTTP/1.1\r
Host: fuzz\r
X-Forwarded-Client-Cert: By=spiffe://a\r
X-Envoy-Peer-Metadata: AAAA\r
Transfer-Encoding: chunked\r
\r
3\r
abc\r
0\r
\r
`;
const get =
  'GET http://fuzz/admin/./x HTTP/1.1\r\nhost: fuzz\r\nexpect: 100-continue\r\nx-inmesh-deadline: 5\r\n\r\n';
const pieces = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  ':',
  ' HTTP/1.1',
  'HTTP/0.9',
  'GET ',
  'CONNECT ',
  'OPTIONS * ',
  'host: other\r\n',
  'content-length: 3\r\n',
  'transfer-encoding: chunked\r\n',
  'connection: upgrade\r\nupgrade: websocket\r\n',
  'connection: close\r\n',
  'x-inmesh-nack: 1\r\n',
  'forwarded: for=x\r\n',
  'http://other',
  '/..',
  '//',
  '%2f',
  '%00',
  '#',
  '\\',
  'é',
];
const requests: Arbitrary<Buffer> = fc.oneof(
  fc
    .tuple(spoiled(pieces, request, get), spoiled(pieces, get))
    .map(([one, two]) => Buffer.from(one + two, 'latin1')),
  spoiledBytes(Buffer.from(request + get)),
  soup(...pieces).map((text) => Buffer.from(text)),
);

function checkHanded({ url, rawHeaders }: Handed): void {
  const [path = ''] = url.split('?');
  promise(path.startsWith('/') || url === '*', 'a handler is given a path');
  promise(!/(?:^|\/)\.{1,2}(?:\/|$)/.test(path), 'a path has no dot segment');
  promise(!/[\\#]/.test(path), 'a path has no backslash and no fragment');
  const names = rawHeaders.filter((_, i) => i % 2 === 0);
  promise(!names.some((name) => claims.test(name)), 'no line that claims an identity stays');
  promise(names.filter((name) => name.toLowerCase() === 'host').length <= 1, 'there is one Host at most');
}

/** The service is in this process: what has happened on the wire is known to it a few turns of the loop later. */
async function checkIdle(service: Service): Promise<void> {
  for (let turns = 0; turns < 100 && service.underWay > 0; turns++) await new Promise(setImmediate);
  promise(service.underWay === 0, 'every call ends');
}

async function checkRequests(service: Service, bytes: Buffer): Promise<void> {
  service.handed = [];
  const socket = connect(service.port, '127.0.0.1').on('error', () => {});
  socket.resume();
  socket.end(bytes);
  await once(socket, 'close');
  for (const one of service.handed) checkHanded(one);
  await checkIdle(service);
}

const frame = Buffer.from([0, 0, 0, 0, 3, 1, 2, 3]);
const metadataLine = fc.tuple(
  fc.constantFrom(
    'grpc-timeout',
    'x-inmesh-deadline',
    'grpc-encoding',
    'traceparent',
    'a-bin',
    'te',
    'forwarded',
  ),
  fc.oneof(
    soup('1', '0', '99999999', 'H', 'M', 'S', 'm', 'u', 'n', '-', ' ', 'gzip', 'identity', '=', ',').map(
      (text) =>
        // What cannot be sent at all is no input.
        text.replaceAll(/[^\x20-\x7e]/g, ''),
    ),
    fc.constantFrom('1n', '1S', 'gzip'),
  ),
);

interface Rpc {
  readonly path: string;
  readonly lines: readonly (readonly [string, string])[];
  readonly body: Buffer;
}

const rpcs: Arbitrary<Rpc> = fc.record({
  path: fc.oneof(
    { weight: 4, arbitrary: fc.constant(echo.path) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('/', '//', '/fuzz.Echo/', '/fuzz.Echo/Unary?x', '/a/../fuzz.Echo/Unary'),
    },
  ),
  lines: fc.array(metadataLine, { maxLength: 3 }),
  body: fc.oneof(
    { weight: 2, arbitrary: fc.constant(frame) },
    spoiledBytes(frame, Buffer.concat([frame, frame])),
  ),
});

/** Calls over one connection, replaced when the server ends it. */
class RpcClient {
  #session: ClientHttp2Session | undefined;

  open(port: number, { path, lines }: Rpc): ClientHttp2Stream {
    if (this.#session === undefined || this.#session.closed || this.#session.destroyed)
      this.#session = connectHttp2(`http://127.0.0.1:${port}`).on('error', () => {});
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
    return this.#session.request({
      ...headers,
      ...Object.fromEntries(lines.filter(([name]) => name !== 'te')),
    });
  }

  close(): void {
    this.#session?.destroy();
  }
}

async function checkRpc(service: Service, client: RpcClient, rpc: Rpc): Promise<void> {
  const stream = client.open(service.port, rpc).on('error', () => {});
  let status: string | undefined;
  const note = ({ 'grpc-status': told }: IncomingHttpHeaders): void => {
    status = [told].flat()[0] ?? status;
  };
  stream.on('response', note).on('trailers', note);
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
  stream.end(rpc.body);
  await once(stream, 'close');
  await checkIdle(service);
  promise(status === undefined || /^(?:\d|1[0-6])$/.test(status), 'a status is a status');
  if (status !== '0') return;
  promise(rpc.path.startsWith(echo.path), 'what succeeds was asked for');
  const { length } = rpc.body;
  const end = length < 5 ? Number.POSITIVE_INFINITY : 5 + rpc.body.readUInt32BE(1);
  promise(end <= length, 'what is taken is a whole message');
  promise(
    Buffer.concat(chunks).subarray(5).equals(rpc.body.subarray(5, end)),
    'the message arrives as it was sent',
  );
}

/** What peers send to a port. */
export function wireTargets(): readonly Target[] {
  const service = new Service();
  const client = new RpcClient();
  return [
    {
      name: 'http request',
      inputs: requests,
      open: () => service.open(),
      check: (bytes: Buffer) => checkRequests(service, bytes),
      close: () => service.close(),
    },
    {
      name: 'grpc request',
      inputs: rpcs,
      open: () => service.open(),
      check: (rpc: Rpc) => checkRpc(service, client, rpc),
      close: () => {
        client.close();
        return service.close();
      },
    },
  ];
}
