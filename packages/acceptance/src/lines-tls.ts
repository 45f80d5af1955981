import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Credentials, counts, curl, exchange, get, openssl, rawTls } from './clients.js';
import type { Context, Line } from './context.js';
import { check, run, sleep, until } from './harness.js';
import { grpcPython } from './peers.js';
import { OpensslCa } from './pki.js';

const handshake = (port: number, ...args: readonly string[]): Promise<string> =>
  openssl(port, args, get('/echo'));

function with_({ cert, key }: Credentials): readonly string[] {
  return ['-cert', cert, '-key', key];
}

async function serialOf(port: number): Promise<string> {
  const { stdout } = await run(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${port}`, '-alpn', 'http/1.1'],
    { timeoutMs: 15_000 },
  );
  const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(stdout)?.[0];
  check(pem !== undefined, 'the server showed no certificate');
  return new X509Certificate(pem).serialNumber;
}

export const ownNames: Line = {
  title: 'every service presents its own single URI SAN; at least 6 processes',
  async run({ bench, fleet }) {
    for (const service of fleet.services) {
      const { stdout } = await run(
        'openssl',
        ['s_client', '-connect', `127.0.0.1:${service.port}`, '-alpn', 'http/1.1'],
        { timeoutMs: 15_000 },
      );
      const file = bench.path(`server-${service.pid}.pem`);
      writeFileSync(
        file,
        /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(stdout)?.[0] ?? '',
      );
      const { stdout: names } = await run('openssl', [
        'x509',
        '-in',
        file,
        '-noout',
        '-ext',
        'subjectAltName',
      ]);
      const uris = [...names.matchAll(/URI:([^,\s]+)/g)].map((match) => match[1]);
      check(
        uris.length === 1 && uris[0] === `spiffe://dev.local/ns/default/sa/${service.name}`,
        `${service.name} presents ${names}`,
      );
      check(service.identity === uris[0], `${service.name} says it is ${service.identity}`);
    }
    const pids = new Set(fleet.services.map(({ pid }) => pid));
    check(pids.size >= 6, `${pids.size} processes`);
    return `${fleet.services.length} services, ${pids.size} pids`;
  },
};

/** A service that trusts an authority made with openssl. */
async function filesService(
  context: Context,
  ca: OpensslCa,
  name: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly port: number; readonly dir: string; readonly own: Credentials }> {
  const dir = context.bench.newDir('files');
  const own = await ca.issue({ uris: [`spiffe://forge.test/ns/default/sa/${name}`] });
  copyFileSync(own.cert, join(dir, 'svid.pem'));
  copyFileSync(own.key, join(dir, 'key.pem'));
  copyFileSync(own.bundle, join(dir, 'bundle.pem'));
  const { port } = await context.bench.service(name, {
    INMESH_TRUST_DOMAIN: 'forge.test',
    INMESH_CERT_FILE: join(dir, 'svid.pem'),
    INMESH_KEY_FILE: join(dir, 'key.pem'),
    INMESH_CA_FILE: join(dir, 'bundle.pem'),
    ...env,
  });
  return { port, dir, own };
}

export const wrongCertificates: Line = {
  title: 'no certificate, a foreign CA and certificates that break the rules are refused before any reply',
  async run(context) {
    const { admin, web, fleet, bench } = context;
    const target = context.service('orders');
    const before = await counts(admin, target.port);
    const none = await handshake(target.port);
    check(/alert certificate required/i.test(none), `no certificate: ${none.slice(-400)}`);
    const foreign = await (await OpensslCa.create(bench, 'dev.local')).issue({
      uris: ['spiffe://dev.local/ns/default/sa/web'],
    });
    check((await exchange(target.port, foreign, get('/echo'))) === '', 'a foreign CA got a reply');
    check(
      !(await handshake(target.port, ...with_(foreign))).includes('HTTP/1.1'),
      'a foreign CA got a reply (openssl)',
    );
    const after = await counts(admin, target.port);
    check(after.calls === before.calls, 'a handler ran');
    check(
      (await exchange(target.port, web, get('/echo'))).startsWith('HTTP/1.1 200'),
      'control: web is served',
    );
    // What our own CA would never sign: an authority that does, trusted through files.
    const ca = await OpensslCa.create(bench, 'forge.test');
    const { port } = await filesService(context, ca, 'victim');
    const id = 'spiffe://forge.test/ns/default/sa/web';
    check(
      (await exchange(port, await ca.issue({ uris: [id] }), get('/echo'))).startsWith('HTTP/1.1 200'),
      'control: a good certificate of that CA is served',
    );
    const faults = {
      expired: { uris: [id], isExpired: true },
      'two URIs': { uris: [id, `${id}2`] },
      'CA:TRUE': { uris: [id], isCa: true },
      'another trust domain': { uris: ['spiffe://dev.local/ns/default/sa/web'] },
    };
    for (const [what, fault] of Object.entries(faults))
      check((await exchange(port, await ca.issue(fault), get('/echo'))) === '', `${what} got a reply`);
    check(fleet.services.length > 0, 'no services');
    return `alert, then ${Object.keys(faults).join(', ')} refused`;
  },
};

export const versionsAndSessions: Line = {
  title: 'TLS 1.2 is refused, also after a rotation; a saved session is never resumed',
  async run(context) {
    const { bench } = context;
    const ca = await OpensslCa.create(bench, 'forge.test');
    const { port, dir } = await filesService(context, ca, 'rotor');
    const old = async (): Promise<void> => {
      const text = await handshake(
        port,
        '-tls1_2',
        ...with_(await ca.issue({ uris: ['spiffe://forge.test/ns/default/sa/web'] })),
      );
      check(
        /alert protocol version/i.test(text) && !text.includes('HTTP/1.1'),
        `TLS 1.2: ${text.slice(-300)}`,
      );
    };
    await old();
    const serial = await serialOf(port);
    const next = await ca.issue({ uris: ['spiffe://forge.test/ns/default/sa/rotor'] });
    copyFileSync(next.cert, join(dir, 'svid.pem'));
    copyFileSync(next.key, join(dir, 'key.pem'));
    await until('a rotated certificate', 15_000, async () => (await serialOf(port)) !== serial);
    await old();
    const client = with_(await ca.issue({ uris: ['spiffe://forge.test/ns/default/sa/web'] }));
    const file = bench.path('session.pem');
    const first = await handshake(port, ...client, '-sess_out', file);
    check(first.includes('HTTP/1.1 200'), 'the first connection was not served');
    const second = await handshake(port, ...client, '-sess_in', file);
    check(!/Reused, TLS/.test(second), 'the session was resumed');
    check(
      /New, TLSv1.3/.test(second) || !second.includes('HTTP/1.1'),
      `second connection: ${second.slice(0, 300)}`,
    );
    return 'refused twice; second handshake was full';
  },
};

export const rotation: Line = {
  title:
    'three rotations under load lose nothing, by curl, grpcio and our clients; a triple swapped file by file never breaks a handshake',
  async run(context) {
    const { bench, fleet, web } = context;
    const short = await bench.service('orders', {
      INMESH_DEV_CA_DIR: fleet.caDir,
      INMESH_DEV_CA_TTL: '20s',
      INMESH_ALLOW: 'web',
    });
    const serials = new Set<string>();
    let requests = 0;
    const failures: string[] = [];
    const started = performance.now();
    const load = async (): Promise<void> => {
      while (serials.size < 4 && performance.now() - started < 120_000) {
        const { status, error } = await curl(web, short.port, '/echo');
        requests++;
        if (status !== 200) failures.push(`${status} ${error}`);
      }
    };
    const keepAlive = async (): Promise<void> => {
      const socket = await rawTls(short.port, web);
      let replies = 0;
      socket.on('data', (chunk: Buffer) => {
        if (chunk.toString('latin1').includes('HTTP/1.1 200')) replies++;
      });
      while (serials.size < 4 && performance.now() - started < 120_000) {
        const before = replies;
        socket.write('GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n');
        await Promise.race([once(socket, 'data'), sleep(5000)]);
        requests++;
        if (replies === before) failures.push('an open connection got no reply');
      }
      socket.destroy();
    };
    const watch = async (): Promise<void> => {
      while (serials.size < 4 && performance.now() - started < 120_000) {
        serials.add(await serialOf(short.port));
        await sleep(200);
      }
    };
    const [, , , ours, foreign] = await Promise.all([
      load(),
      keepAlive(),
      watch(),
      ourClients(context),
      grpcioLoad(context, short.port, 20),
    ]);
    check(failures.length === 0, `${failures.length} of ${requests} failed: ${failures[0] ?? ''}`);
    check(serials.size >= 4, `${serials.size} serials seen`);
    const swapped = await swapTriple(context);
    return `${requests} requests over 3 rotations, ${ours}, ${foreign}, 0 failed; ${swapped} handshakes during the swap`;
  },
};

/** Our clients in a process, and a server, whose certificates live for 12 s: fetch, agent and gRPC. */
async function ourClients({ bench, fleet }: Context): Promise<string> {
  const brief = { INMESH_DEV_CA_DIR: fleet.caDir, INMESH_DEV_CA_TTL: '12s' };
  const server = await bench.service('orders', { ...brief, INMESH_ALLOW: 'rotor' });
  const script = new URL('rotating-client.js', import.meta.url).pathname;
  const { stdout, stderr } = await run(process.execPath, [script, '4'], {
    env: {
      ...brief,
      PATH: process.env['PATH'],
      INMESH_SERVICE_NAME: 'rotor',
      INMESH_LOG_LEVEL: 'error',
      INMESH_UPSTREAM_ORDERS: `127.0.0.1:${server.port}`,
      // What fails must be seen, not sent again.
      INMESH_RETRIES: '0',
    },
    cwd: bench.dir,
    timeoutMs: 120_000,
  });
  if (stdout === '') throw new Error(`our clients: ${stderr.slice(-600)}`);
  const { calls, failures, rotations } = JSON.parse(stdout) as {
    readonly calls: Readonly<Record<string, number>>;
    readonly failures: readonly string[];
    readonly rotations: number;
  };
  check(rotations >= 4, `our clients: ${rotations} rotations`);
  check(failures.length === 0, `our clients: ${failures.length} failed: ${failures.slice(0, 3).join('; ')}`);
  const shown = ['fetch', 'agent', 'grpc'].map((name) => `${calls[name] ?? 0} by ${name}`);
  check(
    ['fetch', 'agent', 'grpc'].every((name) => (calls[name] ?? 0) > 100),
    `our clients: ${shown.join(', ')}`,
  );
  return `${shown.join(', ')} over ${rotations}`;
}

/** Unary calls of grpcio while the server's certificate rotates. @throws Skip */
async function grpcioLoad({ web }: Context, port: number, seconds: number): Promise<string> {
  const { python, script } = grpcPython('grpc_client.py');
  const { stdout, stderr } = await run(
    python,
    [script, `localhost:${port}`, 'load', String(seconds), web.bundle, web.cert, web.key],
    { timeoutMs: (seconds + 60) * 1000 },
  );
  if (stdout === '') throw new Error(`grpcio: ${stderr.slice(-600)}`);
  const { calls, failed } = JSON.parse(stdout) as {
    readonly calls: number;
    readonly failed: readonly string[];
  };
  check(failed.length === 0, `grpcio: ${failed.length} of ${calls} failed: ${failed[0] ?? ''}`);
  check(calls > 100, `grpcio: ${calls} calls`);
  return `${calls} by grpcio`;
}

async function swapTriple(context: Context): Promise<number> {
  const ca = await OpensslCa.create(context.bench, 'forge.test');
  const other = await OpensslCa.create(context.bench, 'forge.test');
  const { port, dir } = await filesService(context, ca, 'swap');
  const issue = (from: OpensslCa, name: string): Promise<Credentials> =>
    from.issue({ uris: [`spiffe://forge.test/ns/default/sa/${name}`] });
  const client = await issue(ca, 'web');
  const next = await issue(ca, 'swap');
  const foreign = await issue(other, 'swap');
  const before = await serialOf(port);
  let handshakes = 0;
  const shake = async (who: Credentials): Promise<void> => {
    check(
      (await exchange(port, who, get('/echo'))).startsWith('HTTP/1.1 200'),
      `handshake ${handshakes} broke`,
    );
    handshakes++;
  };
  // One file at a time, and longer apart than the files are read: each state in between fits nothing.
  for (const [from, to] of [
    [next.key, 'key.pem'],
    [next.cert, 'svid.pem'],
    [foreign.cert, 'svid.pem'],
    [next.cert, 'svid.pem'],
  ] as const) {
    copyFileSync(from, join(dir, to));
    for (let i = 0; i < 8; i++) {
      await shake(client);
      await sleep(200);
    }
  }
  await until('the swapped certificate', 10_000, async () => (await serialOf(port)) !== before);
  // Another root at last: old clients are refused, new ones served.
  copyFileSync(foreign.key, join(dir, 'key.pem'));
  await shake(client);
  copyFileSync(foreign.cert, join(dir, 'svid.pem'));
  await shake(client);
  copyFileSync(other.bundle, join(dir, 'bundle.pem'));
  const young = await issue(other, 'web');
  await until('the new root', 10_000, async () =>
    (await exchange(port, young, get('/echo'))).startsWith('HTTP/1.1 200'),
  );
  check((await exchange(port, client, get('/echo'))) === '', 'a client of the removed root is still served');
  return handshakes;
}
