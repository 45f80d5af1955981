import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import WebSocket from 'ws';
import { counts, curl, get, grpcCall, plaintext, rawHttp2, rawTls, statusOf, tlsOptions } from './clients.js';
import type { Line } from './context.js';
import { check, isAlive, logLines, until } from './harness.js';

export const whoMay: Line = {
  title:
    'curl as web 200, as intruder 403, gRPC intruder status 7, counters unchanged, the log names policy and line',
  async run({ admin, web, intruder, service, fleet }) {
    const orders = service('orders');
    const payments = service('payments');
    const before = await Promise.all([counts(admin, orders.port), counts(admin, payments.port)]);
    check((await curl(web, orders.port, '/order')).status === 200, 'web is not served');
    const denied = await curl(intruder, orders.port, '/echo');
    check(
      denied.status === 403 && denied.body === 'RBAC: access denied',
      `intruder: ${denied.status} ${denied.body}`,
    );
    check((await curl(web, orders.port, '/admin')).status === 403, 'web may use /admin');
    const session = rawHttp2(payments.port, intruder);
    const rpc = await grpcCall(session, '/demo.v1.Echo/Unary', Buffer.from('x'));
    session.destroy();
    check(
      rpc.grpcStatus === '7' && rpc.message === 'RBAC: access denied',
      `gRPC intruder: ${rpc.grpcStatus} ${rpc.message}`,
    );
    const after = await Promise.all([counts(admin, orders.port), counts(admin, payments.port)]);
    check(
      after.every((one, i) => one.admin === before[i]?.admin && one.calls === before[i]?.calls),
      'a handler ran',
    );
    const line = logLines(fleet.log).findLast(
      (one) => one['msg'] === 'denied' && one['policy'] === 'default/admin-only',
    );
    check(
      Number(line?.['line']) > 0 &&
        String(line?.['file']).endsWith('policies.yaml') &&
        String(line?.['peer']).endsWith('/sa/web'),
      `log: ${JSON.stringify(line)}`,
    );
    return `403, 7, ${String(line?.['policy'])} at line ${String(line?.['line'])}`;
  },
};

export const strictAndPermissive: Line = {
  title:
    'strict: plaintext gets no byte; permissive: 200 with no peer, and a policy that asks for a principal denies it',
  async run({ bench, fleet, web, service }) {
    for (const name of ['web', 'orders', 'catalog', 'payments']) {
      check((await plaintext(service(name).port, get('/echo'))) === '', `${name} answered plaintext`);
      check(
        (await plaintext(service(name).port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')) === '',
        `${name} answered plaintext HTTP/2`,
      );
    }
    const env = { INMESH_DEV_CA_DIR: fleet.caDir, INMESH_MTLS: 'permissive' };
    const open = await bench.service('open', env);
    const reply = await plaintext(open.port, get('/echo'));
    check(statusOf(reply) === 200 && reply.includes('"peer":null'), `permissive: ${reply.slice(0, 200)}`);
    check(
      (await curl(web, open.port, '/echo')).body.includes('"peer":"spiffe://dev.local/ns/default/sa/web"'),
      'permissive: mTLS has no peer',
    );
    const closed = await bench.service('closed', { ...env, INMESH_ALLOW: '*' });
    check(
      statusOf(await plaintext(closed.port, get('/echo'))) === 403,
      'a policy that asks for a principal lets plaintext in',
    );
    check((await curl(web, closed.port, '/echo')).status === 200, 'a principal is not let in');
    return 'no byte; 200 and nobody; 403';
  },
};

export const onePort: Line = {
  title:
    'curl, curl --http1.1 and gRPC on one port; plain HTTP/2 where opted in, a clear answer elsewhere; no crash',
  async run({ bench, fleet, web, service }) {
    const payments = service('payments');
    for (const args of [[], ['--http1.1']]) {
      const { status, version } = await curl(web, payments.port, '/echo', ...args);
      check(status === 200 && version === '1.1', `curl ${args.join(' ')}: ${status} over ${version}`);
    }
    const session = rawHttp2(payments.port, web);
    const rpc = await grpcCall(session, '/demo.v1.Echo/Unary', Buffer.from('hello'));
    session.destroy();
    check(
      rpc.grpcStatus === '0' &&
        rpc.body.includes('hello') &&
        rpc.body.includes('spiffe://dev.local/ns/default/sa/web'),
      `gRPC: ${rpc.grpcStatus} ${rpc.message}`,
    );
    const opted = await Promise.all(
      (['fastify', 'hono', 'koa', 'http'] as const).map((framework) =>
        bench.service('opted', {
          INMESH_DEV_CA_DIR: fleet.caDir,
          INMESH_HTTP2: 'true',
          DEMO_FRAMEWORK: framework,
        }),
      ),
    );
    for (const [where, want] of [
      ...opted.map((one) => [one, 200] as const),
      [payments, 505] as const,
      [service('orders'), 505] as const,
      [service('web'), 505] as const,
    ]) {
      const plain = rawHttp2(where.port, web);
      const stream = plain.request({
        ':path': where === service('orders') ? '/echo' : '/count',
        'content-type': 'text/plain',
      });
      const [head] = (await once(stream, 'response')) as [Record<string, unknown>];
      check(
        Number(head[':status']) === want,
        `${where.framework} over HTTP/2: ${String(head[':status'])}, expected ${want}`,
      );
      plain.destroy();
      check(
        (await curl(web, where.port, '/echo')).status === 200 && isAlive(where.pid),
        `${where.framework} did not survive HTTP/2`,
      );
    }
    return `HTTP/1.1 twice, gRPC, HTTP/2 on ${opted.length} frameworks, 505 on the others`;
  },
};

export const webSockets: Line = {
  title: 'WebSocket over mTLS: 101 when allowed, 403 when not',
  async run({ web, intruder, service }) {
    for (const name of ['web', 'orders', 'catalog']) {
      const url = `wss://127.0.0.1:${service(name).port}/ws`;
      const socket = new WebSocket(url, tlsOptions(web) as object);
      const [first] = (await once(socket, 'message')) as [Buffer];
      check(
        first.toString() === 'hello spiffe://dev.local/ns/default/sa/web',
        `${name}: ${first.toString()}`,
      );
      socket.send('ping');
      const [second] = (await once(socket, 'message')) as [Buffer];
      check(second.toString() === 'ping', `${name}: no echo`);
      socket.close();
      const refused = new WebSocket(url, tlsOptions(intruder) as object);
      const status = await new Promise<number>((resolve) => {
        refused.on('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0));
        refused.on('open', () => resolve(101));
        refused.on('error', () => {});
      });
      refused.terminate();
      check(status === 403, `${name}: intruder got ${status}`);
    }
    return 'three frameworks';
  },
};

export const slowClients: Line = {
  title: '500 half-sent headers and 500 silent sockets are cut in time, while normal requests succeed',
  async run({ web, service }) {
    const { port } = service('catalog');
    const lives: Promise<number>[] = [];
    const lifeOf = (socket: Socket): Promise<number> => {
      const start = performance.now();
      return new Promise((resolve) => {
        socket.resume();
        socket.once('close', () => resolve(performance.now() - start));
      });
    };
    let isDone = false;
    let served = 0;
    const normal = (async () => {
      while (!isDone) {
        const { status, error } = await curl(web, port, '/echo');
        check(status === 200, `a normal request failed: ${status} ${error}`);
        served++;
      }
    })();
    for (let batch = 0; batch < 10; batch++) {
      const sockets = await Promise.all(Array.from({ length: 50 }, () => rawTls(port, web)));
      for (const socket of sockets) {
        socket.write('GET / HTTP/1.1\r\nHost: loc');
        lives.push(lifeOf(socket));
      }
    }
    const silent = await Promise.all(
      Array.from({ length: 500 }, async () => {
        const socket = connectTcp(port, '127.0.0.1').on('error', () => {});
        await once(socket, 'connect');
        return await lifeOf(socket);
      }),
    );
    const slow = await Promise.all(lives);
    isDone = true;
    await normal;
    check(Math.max(...slow) < 15_000, `a half-sent header lived ${Math.max(...slow)} ms`);
    check(Math.max(...silent) < 5000, `a silent socket lived ${Math.max(...silent)} ms`);
    return `headers cut within ${(Math.max(...slow) / 1000).toFixed(1)} s, silence within ${(Math.max(...silent) / 1000).toFixed(1)} s, ${served} requests served`;
  },
};

const allow = (name: string): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: callers }
spec:
  rules:
  - from: [{ source: { principals: ["dev.local/ns/default/sa/${name}"] } }]
`;

export const changedPolicy: Line = {
  title:
    'a policy changed from allow to deny stops the next request and a running gRPC stream within a second',
  async run({ bench, fleet, web }) {
    const policyDir = bench.newDir('changing');
    writeFileSync(join(policyDir, 'policy.yaml'), allow('web'));
    const service = await bench.service('changing', {
      INMESH_DEV_CA_DIR: fleet.caDir,
      INMESH_POLICY_DIR: policyDir,
    });
    const socket = await rawTls(service.port, web);
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
    const ask = async (): Promise<number> => {
      text = '';
      socket.write('GET /count HTTP/1.1\r\nHost: localhost\r\n\r\n');
      await until('a reply', 5000, () => statusOf(text) !== 0);
      return statusOf(text);
    };
    check((await ask()) === 200, 'not allowed at first');
    const session = rawHttp2(service.port, web);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/demo.v1.Echo/Bidi',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    let status = '';
    stream.on('trailers', (trailers) => (status = String(trailers['grpc-status'])));
    stream.on('error', () => {});
    stream.write(Buffer.from([0, 0, 0, 0, 3, 10, 1, 120]));
    await once(stream, 'data');
    let closedAt = 0;
    stream.on('close', () => (closedAt = Date.now())).resume();
    writeFileSync(join(policyDir, 'policy.yaml'), allow('nobody'));
    const inForce = (): Record<string, unknown> | undefined =>
      logLines(service.log).find(
        (line) => line['msg'] === 'policy set in force' && Number(line['version']) >= 2,
      );
    await until('the log line', 10_000, () => inForce() !== undefined);
    check((await ask()) === 403, 'the next request on an open connection is allowed');
    await until('the end of the stream', 5000, () => closedAt !== 0);
    const delay = closedAt - Date.parse(String(inForce()?.['time']));
    check(delay < 1000, `the stream lived on for ${delay} ms`);
    check(status === '7', `the stream ended with status ${status}`);
    session.destroy();
    socket.destroy();
    return `403; stream ended ${Math.max(0, delay)} ms after the log line, status 7`;
  },
};

export const environmentAlone: Line = {
  title: 'an empty directory and the environment alone: mTLS and 403 work',
  async run({ bench }) {
    const home = bench.newDir('home');
    const empty = bench.newDir('empty');
    mkdirSync(join(home, 'state'));
    const service = await bench.service(
      'solo',
      { HOME: home, XDG_STATE_HOME: join(home, 'state'), INMESH_ALLOW: 'friend' },
      empty,
    );
    const { mint } = await import('./clients.js');
    const caDir = join(home, 'state', 'inmesh', 'dev-ca');
    const [friend, stranger] = await Promise.all([
      mint(bench, caDir, 'friend'),
      mint(bench, caDir, 'stranger'),
    ]);
    const good = await curl(friend, service.port, '/echo');
    check(good.status === 200 && good.body.includes('sa/friend'), `friend: ${good.status} ${good.error}`);
    check((await curl(stranger, service.port, '/echo')).status === 403, 'a stranger is let in');
    check((await plaintext(service.port, get('/echo'))) === '', 'plaintext is answered');
    return '200 for a friend, 403 for a stranger';
  },
};
