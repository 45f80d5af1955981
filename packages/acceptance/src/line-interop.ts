import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type Credentials, frame, grpcCall, mint } from './clients.js';
import type { Context, Line } from './context.js';
import { check, peerFiles, run, until } from './harness.js';
import { envoyBinary, grpcPython } from './peers.js';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { readonly port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts Envoy on a template; every placeholder must have a value. */
async function startEnvoy(
  { bench }: Context,
  label: string,
  template: string,
  values: Readonly<Record<string, string | number>>,
): Promise<void> {
  const binary = envoyBinary();
  const adminPort = await freePort();
  const all: Readonly<Record<string, string | number>> = { ...values, ADMIN_PORT: adminPort };
  const config = readFileSync(join(peerFiles, template), 'utf8').replaceAll(
    /\{\{(\w+)\}\}/g,
    (_match, name: string) => {
      const value = all[name];
      check(value !== undefined, `${template}: no value for ${name}`);
      return String(value);
    },
  );
  const file = bench.path(`${label}.yaml`);
  writeFileSync(file, config);
  const log = bench.path(`${label}.log`);
  bench.program(
    binary,
    [
      '-c',
      file,
      '--disable-hot-restart',
      '--concurrency',
      '1',
      '--log-level',
      'warning',
      '--file-flush-interval-msec',
      '50',
      '--base-id',
      String(adminPort),
    ],
    log,
  );
  await until(`${label} ready`, 30_000, async () =>
    (await run('curl', ['-sS', `http://127.0.0.1:${adminPort}/ready`])).stdout.startsWith('LIVE'),
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${readFileSync(log, 'utf8').slice(-800)}`);
  });
}

async function plainCurl(
  port: number,
  path: string,
): Promise<{ readonly status: number; readonly body: string }> {
  const { stdout } = await run('curl', [
    '-sS',
    '--max-time',
    '20',
    '-w',
    '\n%{http_code}',
    `http://127.0.0.1:${port}${path}`,
  ]);
  const end = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(end + 1)), body: stdout.slice(0, end) };
}

async function plainGrpc(port: number): Promise<string> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  const { grpcStatus, body } = await grpcCall(session, '/demo.v1.Echo/Unary', Buffer.from('through envoy'));
  session.destroy();
  return `${grpcStatus} ${body.toString('latin1')}`;
}

/** Envoy as the sidecar of a client: it reaches our servers, and refuses one with another name. */
async function envoyOutbound(context: Context, web: Credentials): Promise<void> {
  const any = await context.bench.service('orders', {
    INMESH_DEV_CA_DIR: context.fleet.caDir,
    INMESH_ALLOW: 'web',
  });
  const start = async (label: string, expected: string): Promise<number> => {
    const port = await freePort();
    await startEnvoy(context, label, 'sidecar-outbound.yaml', {
      LISTEN_PORT: port,
      ACCESS_LOG: context.bench.path(`${label}.access`),
      EXPECTED_ID: `spiffe://dev.local/ns/default/sa/${expected}`,
      ENDPOINTS: JSON.stringify([
        { endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: any.port } } } },
      ]),
      CERT_CHAIN: web.cert,
      KEY: web.key,
      CA: web.bundle,
    });
    return port;
  };
  const good = await start('outbound', 'orders');
  const wrong = await start('outbound-wrong', 'catalog');
  // `/h1…` goes out with Istio's ALPN list for HTTP/1.1; there is no such route, so our own 404 is the answer.
  const http = await plainCurl(good, '/h1');
  check(http.status === 404, `Envoy to our HTTP/1.1: ${http.status} ${http.body}`);
  const rpc = await plainGrpc(good);
  check(rpc.startsWith('0 ') && rpc.includes('sa/web'), `Envoy to our gRPC: ${rpc}`);
  const refused = await plainCurl(wrong, '/h1');
  check(refused.status === 503, `Envoy took us for another: ${refused.status}`);
  const stranger = await mint(context.bench, context.fleet.caDir, 'stranger');
  const port = await freePort();
  await startEnvoy(context, 'outbound-stranger', 'sidecar-outbound.yaml', {
    LISTEN_PORT: port,
    ACCESS_LOG: context.bench.path('stranger.access'),
    EXPECTED_ID: 'spiffe://dev.local/ns/default/sa/orders',
    ENDPOINTS: JSON.stringify([
      { endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: any.port } } } },
    ]),
    CERT_CHAIN: stranger.cert,
    KEY: stranger.key,
    CA: stranger.bundle,
  });
  check((await plainCurl(port, '/h1')).status === 403, 'Envoy with a denied identity was let in');
}

interface CallResult {
  readonly http?: number;
  readonly body?: string;
  readonly grpc?: string;
  readonly error?: string;
}

/** Our client in a process of its own: one fetch, or one gRPC call. */
async function ourClient(
  { bench, fleet }: Context,
  kind: 'grpc' | 'http',
  upstream: string,
  identity: string,
): Promise<CallResult> {
  const script = new URL('call-through.js', import.meta.url).pathname;
  const { stdout, stderr } = await run(process.execPath, [script, kind], {
    env: {
      PATH: process.env['PATH'],
      INMESH_SERVICE_NAME: 'web',
      INMESH_DEV_CA_DIR: fleet.caDir,
      INMESH_LOG_LEVEL: 'error',
      INMESH_UPSTREAM_BACKEND: upstream,
      INMESH_UPSTREAM_BACKEND_IDENTITY: identity,
    },
    cwd: bench.dir,
  });
  if (stdout === '') throw new Error(`our client: ${stderr.slice(-600)}`);
  return JSON.parse(stdout) as CallResult;
}

/** Envoy as the sidecar of a server: our clients reach the application behind it, and refuse one with another name. */
async function envoyInbound(context: Context): Promise<void> {
  const backend = await mint(context.bench, context.fleet.caDir, 'backend');
  const app = await context.bench.service('plain', {
    INMESH_MTLS: 'disable',
    INMESH_DEV_CA_DIR: context.fleet.caDir,
  });
  const rules = {
    action: 'ALLOW',
    policies: {
      web: {
        permissions: [{ any: true }],
        principals: [
          { authenticated: { principal_name: { exact: 'spiffe://dev.local/ns/default/sa/web' } } },
        ],
      },
    },
  };
  const start = async (label: string, protocol: string): Promise<number> => {
    const port = await freePort();
    await startEnvoy(context, label, 'sidecar-inbound.yaml', {
      LISTEN_PORT: port,
      APP_PORT: app.port,
      APP_PROTOCOL: protocol,
      RBAC_RULES: JSON.stringify(rules),
      TRUST_DOMAIN: 'dev.local',
      ACCESS_LOG: context.bench.path(`${label}.access`),
      CERT_CHAIN: backend.cert,
      KEY: backend.key,
      CA: backend.bundle,
    });
    return port;
  };
  const h1 = await start('inbound-h1', 'http_protocol_options');
  const h2 = await start('inbound-h2', 'http2_protocol_options');
  const http = await ourClient(context, 'http', `127.0.0.1:${h1}`, 'backend');
  check(
    http.http === 200 && http.body?.includes('"service":"plain"'),
    `our client to Envoy: ${JSON.stringify(http)}`,
  );
  const rpc = await ourClient(context, 'grpc', `127.0.0.1:${h2}`, 'backend');
  check(rpc.grpc === 'hello', `our gRPC client to Envoy: ${JSON.stringify(rpc)}`);
  for (const [kind, port] of [
    ['http', h1],
    ['grpc', h2],
  ] as const) {
    const { error = '' } = await ourClient(context, kind, `127.0.0.1:${port}`, 'other');
    check(
      error.includes('spiffe://dev.local/ns/default/sa/backend') &&
        error.includes('spiffe://dev.local/ns/default/sa/other'),
      `${kind}: the refusal names not both: ${error}`,
    );
  }
}

/** grpcio calls us and is called by us. */
async function grpcio(context: Context, web: Credentials): Promise<void> {
  const client = grpcPython('grpc_client.py');
  const { port } = context.service('payments');
  const called = await run(client.python, [
    client.script,
    `localhost:${port}`,
    'unary',
    '1000',
    web.bundle,
    web.cert,
    web.key,
  ]);
  check(
    (JSON.parse(called.stdout) as { readonly code: number }).code === 0,
    `grpcio to us: ${called.stdout}`,
  );
  const backend = await mint(context.bench, context.fleet.caDir, 'backend');
  const server = grpcPython('grpc_server.py');
  const process_ = context.bench.program(
    server.python,
    [server.script, backend.bundle, backend.cert, backend.key],
    context.bench.path('grpcio-server.log'),
  );
  const [line] = (await once(process_.stdout ?? process_, 'data')) as [Buffer];
  const address = `127.0.0.1:${line.toString().trim()}`;
  const rpc = await ourClient(context, 'grpc', address, 'backend');
  check(rpc.grpc === 'hello', `we to grpcio: ${JSON.stringify(rpc)}`);
  const { error = '' } = await ourClient(context, 'grpc', address, 'other');
  check(error.includes('sa/backend') && error.includes('sa/other'), `the refusal names not both: ${error}`);
}

export const interop: Line = {
  title:
    'Envoy as an Istio-shaped sidecar on either side, and grpcio on either side; wrong identities refused',
  async run(context) {
    envoyBinary();
    grpcPython('grpc_client.py');
    await envoyOutbound(context, context.web);
    await envoyInbound(context);
    await grpcio(context, context.web);
    return `Envoy out and in over HTTP/1.1 and gRPC, grpcio out and in (${frame(Buffer.from('hello')).length}-byte frames)`;
  },
};
