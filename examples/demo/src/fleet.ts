import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { markOf, type ProcessMark } from './processes.js';

/** One running service, as `--json` prints it. */
export interface RunningService {
  readonly name: string;
  readonly replica: number;
  readonly pid: number;
  readonly host: string;
  readonly port: number;
  readonly protocol: 'grpc' | 'http';
  readonly framework: string;
  readonly mode: string;
  readonly identity: string;
}

/** Everything that runs, as `--json` prints it. */
export interface Fleet {
  readonly services: readonly RunningService[];
  readonly caDir: string;
  readonly bundle: string;
  readonly policyDir: string;
  readonly log: string;
}

/** What a service is called: `web`, or `orders-0` where there are several. */
export function labelOf(
  services: readonly RunningService[],
  { name, replica }: Pick<RunningService, 'name' | 'replica'>,
): string {
  return services.filter((one) => one.name === name).length > 1 ? `${name}-${replica}` : name;
}

const policies = `# Who may call whom. The one identity that may use /admin is admin.
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: callers
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        principals: ["dev.local/ns/default/sa/web", "dev.local/ns/default/sa/orders", "dev.local/ns/default/sa/admin"]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: admin-only
spec:
  action: DENY
  rules:
  - from:
    - source:
        notPrincipals: ["dev.local/ns/default/sa/admin"]
    to:
    - operation:
        paths: ["/admin", "/admin/*"]
`;

/** Starts services as processes that live on their own. */
export class FleetStarter {
  readonly #dir: string;
  readonly #log: number;
  readonly #services: RunningService[] = [];
  readonly #environments = new Map<string, Readonly<Record<string, string>>>();
  readonly #detached: boolean;
  readonly #children: ChildProcess[] = [];
  /** Everything that was started. */
  readonly processes: ProcessMark[] = [];

  constructor(dir: string, detached: boolean) {
    this.#dir = dir;
    this.#detached = detached;
    mkdirSync(this.policyDir, { recursive: true, mode: 0o700 });
    writeFileSync(join(this.policyDir, 'policies.yaml'), policies);
    this.#log = openSync(this.log, 'a', 0o600);
  }

  get caDir(): string {
    return join(this.#dir, 'ca');
  }

  get policyDir(): string {
    return join(this.#dir, 'policies');
  }

  get log(): string {
    return join(this.#dir, 'services.log');
  }

  /** Addresses of what runs under `name`. */
  at(name: string): string {
    return this.#services
      .filter((one) => one.name === name)
      .map(({ host, port }) => `${host}:${port}`)
      .join(',');
  }

  async start(name: string, env: Readonly<Record<string, string>> = {}, replica = 0): Promise<void> {
    const script = fileURLToPath(new URL(`services/${name}.js`, import.meta.url));
    const child = fork(script, [], {
      // Nothing of ours: the environment of a service is its whole configuration.
      env: {
        PATH: process.env['PATH'],
        INMESH_SERVICE_NAME: name,
        INMESH_DEV_CA_DIR: this.caDir,
        INMESH_POLICY_DIR: this.policyDir,
        INMESH_DRAIN_DELAY: '100ms',
        INMESH_HEADERS_TIMEOUT: '5s',
        ...env,
      },
      stdio: ['ignore', this.#log, this.#log, 'ipc'],
      detached: this.#detached,
    });
    this.#children.push(child);
    if (child.pid !== undefined) this.processes.push(markOf(child.pid));
    const told = await new Promise<Omit<RunningService, 'replica' | 'protocol'>>((resolve, reject) => {
      child.once('message', (message) => resolve(message as Omit<RunningService, 'replica' | 'protocol'>));
      child.once('exit', (code) => reject(new Error(`${name} ended with ${String(code)}; see ${this.log}`)));
    });
    child.removeAllListeners('exit');
    child.disconnect();
    if (this.#detached) child.unref();
    const service: RunningService = { ...told, replica, protocol: name === 'payments' ? 'grpc' : 'http' };
    const place = this.#services.findIndex((one) => one.name === name && one.replica === replica);
    if (place === -1) {
      this.#services.push(service);
      // They start together and listen in any order.
      this.#services.sort((a, b) => (a.name === b.name ? a.replica - b.replica : 0));
    } else this.#services[place] = service;
    this.#environments.set(`${name}-${replica}`, env);
  }

  /** Ends a replica the hard way: what it has in flight is lost. */
  kill(name: string, replica: number): void {
    const { pid } = this.#find(name, replica);
    this.#children.find((one) => one.pid === pid)?.kill('SIGKILL');
  }

  /** Starts a replica again at its address. */
  async restart(name: string, replica: number): Promise<void> {
    const { port } = this.#find(name, replica);
    await this.start(name, { ...this.#environments.get(`${name}-${replica}`), PORT: String(port) }, replica);
  }

  #find(name: string, replica: number): RunningService {
    const service = this.#services.find((one) => one.name === name && one.replica === replica);
    if (service === undefined) throw new Error(`there is no ${name}-${replica}`);
    return service;
  }

  /** The four services of the demo. */
  async startAll(): Promise<Fleet> {
    await Promise.all([this.start('catalog'), this.start('payments')]);
    const upstream = { INMESH_UPSTREAM_CATALOG: this.at('catalog') };
    // The first is killed and comes back, the third is slow, the fourth fails half of its calls.
    const faults = ['', '', 'slow', 'half'];
    await Promise.all(
      faults.map((fault, replica) => this.start('orders', { ...upstream, DEMO_FAULT: fault }, replica)),
    );
    await this.start('web', {
      INMESH_UPSTREAM_ORDERS: this.at('orders'),
      INMESH_UPSTREAM_PAYMENTS: this.at('payments'),
      INMESH_RETRY_ON: 'connect-failure,refused-stream,reset,unavailable,cancelled,503',
    });
    return this.fleet();
  }

  fleet(): Fleet {
    return {
      services: [...this.#services],
      caDir: this.caDir,
      bundle: join(this.caDir, 'dev.local', 'ca.crt'),
      policyDir: this.policyDir,
      log: this.log,
    };
  }

  close(): void {
    closeSync(this.#log);
  }
}
