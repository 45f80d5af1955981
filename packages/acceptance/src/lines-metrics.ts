import { writeFileSync } from 'node:fs';
import { METHODS } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type Credentials, curl, mint, rawTls } from './clients.js';
import type { Context, Line } from './context.js';
import { check, logLines, metricsPort, until } from './harness.js';
import { Ledger, ledgerIdentity, meshClient, settled } from './ledger.js';
import { systemProgram } from './peers.js';

const script = fileURLToPath(new URL('rolling-service.js', import.meta.url));

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Samples of one metric. */
function samplesOf(text: string, name: string): readonly Sample[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`))
    .map((line) => {
      const end = line.lastIndexOf('}');
      const pairs = [...line.slice(0, end).matchAll(/([a-z_]+)="([^"]*)"/g)];
      return {
        labels: Object.fromEntries(pairs.map(([, key = '', value = '']) => [key, value])),
        value: Number(line.slice(end + 2)),
      };
    });
}

function sum(samples: readonly Sample[], wanted: Readonly<Record<string, string>>): number {
  return samples
    .filter(({ labels }) => Object.entries(wanted).every(([name, value]) => labels[name] === value))
    .reduce((total, { value }) => total + value, 0);
}

/** Reads metrics as anybody may: in plaintext. */
async function read(port: number): Promise<readonly Sample[]> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return samplesOf(text, 'istio_requests_total');
}

function word(): string {
  return Math.random().toString(36).slice(2, 10);
}

/** Sends requests that have nothing in common, and reads as many replies. */
async function sendRandom(port: number, who: Credentials, count: number): Promise<void> {
  const methods = METHODS.filter((method) => !['CONNECT', 'HEAD', 'PRI'].includes(method));
  const socket = await rawTls(port, who);
  let replies = 0;
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    replies += text.split('HTTP/1.1 ').length - 1;
  });
  for (let sent = 0; sent < count; sent += 100) {
    const requests = Array.from({ length: 100 }, () => {
      const method = methods[Math.floor(Math.random() * methods.length)] ?? 'GET';
      return `${method} /${word()}/${word()} HTTP/1.1\r\nHost: ${word()}.example\r\nContent-Length: 0\r\n\r\n`;
    });
    socket.write(requests.join(''));
    await until(`${sent + 100} replies`, 30_000, () => replies >= sent + 100);
  }
  socket.destroy();
}

/** Leaves before the reply began: its request is not even whole. */
async function leaveEarly(port: number, who: Credentials): Promise<void> {
  const socket = await rawTls(port, who);
  socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc');
  await new Promise((resolve) => setTimeout(resolve, 300));
  socket.destroy();
}

async function destinationCounts(context: Context): Promise<string> {
  const { bench, fleet, web } = context;
  const env = {
    INMESH_DEV_CA_DIR: fleet.caDir,
    INMESH_METRICS_ADDR: '127.0.0.1:0',
    INMESH_ACCESS_LOG: 'errors',
    LEDGER: bench.path('counted.txt'),
  };
  const { service } = await bench.running('counted', env, script);
  const port = await metricsPort(service);
  const asked = 40;
  let answered = 0;
  for (let i = 0; i < asked; i++) {
    const { status } = await curl(web, service.port, `/item/${i}`);
    if (status === 200) answered++;
  }
  const source_principal = 'spiffe://dev.local/ns/default/sa/web';
  const counted = { reporter: 'destination', source_principal, response_code: '200', response_flags: '-' };
  const before = await read(port);
  const ours = sum(before, { ...counted, connection_security_policy: 'mutual_tls' });
  check(ours === answered && answered === asked, `curl counts ${answered}, the destination ${ours}`);
  await sendRandom(service.port, web, 10_000);
  const after = await read(port);
  check(sum(after, counted) === asked + 10_000, `10,000 more make ${sum(after, counted)}`);
  check(after.length === before.length, `${after.length - before.length} series more after random requests`);
  await leaveEarly(service.port, web);
  await until('an abort is counted', 5000, async () => sum(await read(port), { response_flags: 'DC' }) === 1);
  check(sum(await read(port), { response_flags: 'DC', response_code: '0' }) === 1, 'an abort has a code');
  const logged = logLines(service.log).filter(({ msg }) => msg === 'access');
  check(
    logged.length === 1 && logged[0]?.['response_flags'] === 'DC' && logged[0]['response_code'] === 0,
    `the access log says ${JSON.stringify(logged)}`,
  );
  return `${ours} by curl, 10,000 random requests in the same ${after.length} series`;
}

async function sourceCounts(context: Context): Promise<string> {
  const ledger = await Ledger.http(context, await ledgerIdentity(context), 2);
  const mesh = await meshClient(context, { upstreams: { ledger: ledger.addresses }, retries: 0 });
  for (let i = 0; i < 100; i++) await (await mesh.fetch(`http://ledger/${word()}`)).arrayBuffer();
  await settled(mesh, 'ledger');
  const ours = sum(samplesOf(await mesh.metricsText(), 'istio_requests_total'), {
    reporter: 'source',
    destination_service_name: 'ledger',
  });
  await mesh.close();
  const theirs = await ledger.total();
  check(ours === theirs && ours === 100, `the source counts ${ours}, the upstream ${theirs}`);
  return `${ours} by the upstream`;
}

export const countsOfOthers: Line = {
  title:
    'istio_requests_total is what curl and a foreign upstream count; random hosts, paths and methods add no series; an abort is DC with code 0, in the access log, too',
  run: async (context) => `${await destinationCounts(context)}; ${await sourceCounts(context)}`,
};

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function scrapeConfig(job: string, ports: readonly number[], { bundle, cert, key }: Credentials): string {
  const targets = ports.map((port) => `'localhost:${port}'`).join(', ');
  return `- job_name: ${job}
  scheme: https
  tls_config: { ca_file: ${bundle}, cert_file: ${cert}, key_file: ${key}, server_name: localhost, min_version: TLS13 }
  static_configs: [{ targets: [${targets}] }]
`;
}

interface Target {
  readonly labels: { readonly job: string };
  readonly health: string;
  readonly lastError: string;
}

async function askPrometheus<T>(port: number, path: string): Promise<T> {
  const { data } = (await (await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)).json()) as { data: T };
  return data;
}

export const scrapes: Line = {
  title:
    'Prometheus scrapes every service over mTLS; one without the identity gets 403; probes need no certificate',
  async run(context) {
    const { bench, fleet, intruder, web } = context;
    const program = systemProgram('prometheus');
    const scraper = await mint(bench, fleet.caDir, 'prometheus');
    const names = ['first', 'second', 'third'];
    const ports: number[] = [];
    for (const name of names) {
      const service = await bench.service(name, {
        INMESH_DEV_CA_DIR: fleet.caDir,
        INMESH_METRICS_ADDR: '127.0.0.1:0',
        INMESH_METRICS_ALLOW: 'prometheus',
      });
      ports.push(await metricsPort(service));
      check((await curl(web, service.port, '/echo')).status === 200, `${name} does not answer`);
    }
    for (const port of ports) {
      const probe = await fetch(`http://127.0.0.1:${port}/readyz`);
      check(probe.status === 200, `a probe without a certificate: ${probe.status}`);
      const plain = await fetch(`http://127.0.0.1:${port}/metrics`);
      check(plain.status === 403, `metrics in plaintext: ${plain.status}`);
    }
    const file = bench.path('prometheus.yml');
    const jobs = scrapeConfig('allowed', ports, scraper) + scrapeConfig('intruder', ports, intruder);
    writeFileSync(file, `global: { scrape_interval: 1s, scrape_timeout: 1s }\nscrape_configs:\n${jobs}`);
    const port = await freePort();
    const args = [`--config.file=${file}`, `--storage.tsdb.path=${bench.newDir('tsdb')}`];
    bench.program(program, [...args, `--web.listen-address=127.0.0.1:${port}`], bench.path('prometheus.log'));
    let targets: readonly Target[] = [];
    await until('every target is scraped', 60_000, async () => {
      try {
        targets = (await askPrometheus<{ activeTargets: Target[] }>(port, 'targets')).activeTargets;
      } catch {
        return false;
      }
      return targets.length === 6 && targets.every(({ health }) => health !== 'unknown');
    });
    for (const { labels, health, lastError } of targets)
      check(
        labels.job === 'allowed' ? health === 'up' : lastError.includes('403'),
        `${labels.job}: ${health} ${lastError}`,
      );
    const query = encodeURIComponent('count(istio_requests_total{job="allowed",response_code="200"})');
    const { result } = await askPrometheus<{ result: { value: [number, string] }[] }>(
      port,
      `query?query=${query}`,
    );
    check(Number(result[0]?.value[1]) === names.length, `Prometheus knows ${JSON.stringify(result)}`);
    return `3 up, 3 times 403, ${result[0]?.value[1]} series of requests in Prometheus`;
  },
};
