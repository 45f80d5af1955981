import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freeze, policies, services as servicesText, settings } from './manifests.js';
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
  /** Where its metrics are. */
  readonly metricsPort?: number;
}

/** Everything that runs, as `--json` prints it. */
export interface Fleet {
  readonly services: readonly RunningService[];
  readonly caDir: string;
  readonly bundle: string;
  readonly configDir: string;
  readonly log: string;
}

/** What a service is called: `web`, or `orders-0` where there are several. */
export function labelOf(
  services: readonly RunningService[],
  { name, replica }: Pick<RunningService, 'name' | 'replica'>,
): string {
  return services.filter((one) => one.name === name).length > 1 ? `${name}-${replica}` : name;
}

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
    mkdirSync(this.configDir, { recursive: true, mode: 0o700 });
    this.#write('mesh.yaml', settings);
    this.#write('policies.yaml', policies);
    this.#log = openSync(this.log, 'a', 0o600);
  }

  get caDir(): string {
    return join(this.#dir, 'ca');
  }

  get configDir(): string {
    return join(this.#dir, 'config');
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
        // Everything else is YAML, the same for all of them.
        INMESH_CONFIG: this.configDir,
        INMESH_METRICS_ADDR: '127.0.0.1:0',
        // Long enough for a busy machine, short enough to be seen.
        ...(this.#detached ? {} : { INMESH_DEV_CA_TTL: '12s' }),
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

  /** One more policy, while everything runs. */
  changePolicies(): void {
    this.#write('freeze.yaml', freeze);
  }

  /** Tells every service where those are that run. */
  #tell(): void {
    const names = [...new Set(this.#services.map(({ name }) => name))];
    const entries = names.map((name) => {
      const replicas = this.#services.filter((one) => one.name === name);
      const protocol = replicas[0]?.protocol ?? 'http';
      return { name, protocol, ports: replicas.map(({ port }) => port) };
    });
    this.#write('services.yaml', servicesText(entries));
  }

  /** Whole, under the name that is read: nobody sees half of it. */
  #write(name: string, text: string): void {
    const file = join(this.configDir, name);
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }

  #find(name: string, replica: number): RunningService {
    const service = this.#services.find((one) => one.name === name && one.replica === replica);
    if (service === undefined) throw new Error(`there is no ${name}-${replica}`);
    return service;
  }

  /** The four services of the demo. */
  async startAll(): Promise<Fleet> {
    await Promise.all([this.start('catalog'), this.start('payments')]);
    this.#tell();
    // The first is killed and comes back, the third is slow, the fourth fails half of its calls.
    const faults = ['', '', 'slow', 'half'];
    await Promise.all(faults.map((fault, replica) => this.start('orders', { DEMO_FAULT: fault }, replica)));
    this.#tell();
    await this.start('web');
    return this.fleet();
  }

  fleet(): Fleet {
    return {
      services: [...this.#services],
      caDir: this.caDir,
      bundle: join(this.caDir, 'dev.local', 'ca.crt'),
      configDir: this.configDir,
      log: this.log,
    };
  }

  close(): void {
    closeSync(this.#log);
  }
}
