import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { type Bench, check, run } from './harness.js';

const cli = new URL('../../inmesh/bin/inmesh.js', import.meta.url).pathname;

/** Files that prove an identity. */
export interface Credentials {
  readonly cert: string;
  readonly key: string;
  readonly bundle: string;
}

/** An identity of the dev CA, for programs that are not ours. */
export async function mint(bench: Bench, caDir: string, service: string): Promise<Credentials> {
  const out = bench.newDir(service);
  const { code, stderr } = await run(
    process.execPath,
    [cli, 'identity', 'mint', '--service', service, '--out', out],
    { env: { PATH: process.env['PATH'], INMESH_DEV_CA_DIR: caDir }, cwd: bench.dir },
  );
  check(code === 0, `identity mint: ${stderr}`);
  return { cert: join(out, 'svid.pem'), key: join(out, 'key.pem'), bundle: join(out, 'bundle.pem') };
}

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly version: string;
  readonly code: number;
  readonly error: string;
}

/** Asks with curl, server name verified. */
export async function curl(
  who: Credentials,
  port: number,
  path: string,
  ...args: readonly string[]
): Promise<Answer> {
  const all = [
    '-sS',
    '--max-time',
    '120',
    '--path-as-is',
    '--cacert',
    who.bundle,
    '--cert',
    who.cert,
    '--key',
    who.key,
    '-w',
    '\n%{http_code} %{http_version}',
    ...args,
    `https://localhost:${port}${path}`,
  ];
  const { code, stdout, stderr } = await run('curl', all, { timeoutMs: 150_000 });
  const end = stdout.lastIndexOf('\n');
  const [status = '0', version = ''] = stdout.slice(end + 1).split(' ');
  return { status: Number(status), version, body: stdout.slice(0, end), code, error: stderr.trim() };
}

/** Asks with curl for JSON. */
async function json<T>(who: Credentials, port: number, path: string): Promise<T> {
  const { status, body, error } = await curl(who, port, path);
  check(status === 200, `${path}: ${status} ${body} ${error}`);
  return JSON.parse(body) as T;
}

export interface Counts {
  readonly admin: number;
  readonly calls: number;
  readonly aborted: number;
  readonly rss: number;
}

export function counts(who: Credentials, port: number): Promise<Counts> {
  return json<Counts>(who, port, '/count');
}

export function tlsOptions(
  who: Credentials | undefined,
  alpn: readonly string[] = ['http/1.1'],
): ConnectionOptions {
  return {
    rejectUnauthorized: false,
    ALPNProtocols: [...alpn],
    ...(who && { cert: readFileSync(who.cert), key: readFileSync(who.key) }),
  };
}

/** A raw TLS connection. */
export async function rawTls(
  port: number,
  who: Credentials | undefined,
  alpn?: readonly string[],
): Promise<TLSSocket> {
  const socket = connectTls({ port, host: '127.0.0.1', ...tlsOptions(who, alpn) });
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return socket;
}

/** Sends bytes over TLS and returns everything that comes back until the end. */
export async function exchange(port: number, who: Credentials | undefined, bytes: string): Promise<string> {
  return await new Promise((resolve) => {
    let text = '';
    const socket = connectTls({ port, host: '127.0.0.1', ...tlsOptions(who) });
    socket.on('secureConnect', () => socket.write(bytes, 'latin1'));
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });
}

/** Sends bytes in plaintext and returns everything that comes back until the end. */
export async function plaintext(port: number, bytes: string): Promise<string> {
  return await new Promise((resolve) => {
    let text = '';
    const socket = connectTcp(port, '127.0.0.1', () => socket.write(bytes, 'latin1'));
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });
}

export const get = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;

export function statusOf(reply: string): number {
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(reply)?.[1] ?? 0);
}

/** A raw HTTP/2 session over TLS. */
export function rawHttp2(port: number, who: Credentials): ClientHttp2Session {
  const session = connectHttp2('https://localhost', {
    createConnection: () => connectTls({ port, host: '127.0.0.1', ...tlsOptions(who, ['h2']) }),
  });
  session.on('error', () => {});
  return session;
}

/** A gRPC message of `demo.v1.Message`, framed. */
export function frame(payload: Buffer): Buffer {
  const length: number[] = [];
  for (let left = payload.length; ; left >>>= 7) {
    if (left < 128) {
      length.push(left);
      break;
    }
    length.push((left & 127) | 128);
  }
  const message = Buffer.concat([Buffer.from([10, ...length]), payload]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

export interface GrpcAnswer {
  readonly httpStatus: number;
  readonly grpcStatus: string;
  readonly message: string;
  readonly body: Buffer;
}

/** One gRPC call by hand over an HTTP/2 session. */
export async function grpcCall(
  session: ClientHttp2Session,
  path: string,
  payload: Buffer,
): Promise<GrpcAnswer> {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  let head: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  const chunks: Buffer[] = [];
  stream.on('response', (headers) => (head = headers));
  stream.on('trailers', (headers) => (trailers = headers));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => {});
  stream.end(frame(payload));
  await once(stream, 'close');
  return {
    httpStatus: Number(head[':status'] ?? 0),
    grpcStatus: String(trailers['grpc-status'] ?? head['grpc-status'] ?? ''),
    message: String(trailers['grpc-message'] ?? head['grpc-message'] ?? ''),
    body: Buffer.concat(chunks),
  };
}

/** Starts `openssl s_client`; `input` is sent, then it waits for the server to close. */
export async function openssl(port: number, args: readonly string[], input = ''): Promise<string> {
  const { stdout, stderr } = await run(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${port}`, '-alpn', 'http/1.1', '-ign_eof', ...args],
    { input, timeoutMs: 15_000 },
  );
  return stdout + stderr;
}
