import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { adopt, cpuUsOf, pin } from './children.js';
import type { ProxyPair, StartProxies } from './peers/proxy.js';
import {
  type Hello,
  type Material,
  type Order,
  type RoleConfig,
  type Slice,
  type SliceResult,
  type SoakConfig,
  type SoakOrder,
  type Usage,
  type Variant,
  type Wire,
} from './protocol.js';

const cores = { client: 0, server: 1, soak: 1 } as const;

/** A process with a role: it answers one order at a time. */
export class Role {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(
    script: keyof typeof cores,
    config: RoleConfig | SoakConfig,
  ): Promise<{ readonly role: Role; readonly hello: Hello }> {
    const child = fork(
      fileURLToPath(new URL(`${script}-process.js`, import.meta.url)),
      [JSON.stringify(config)],
      {
        execArgv: ['--expose-gc', '--no-warnings'],
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      },
    );
    adopt(child);
    pin(child, cores[script]);
    const role = new Role(child);
    const hello = (await role.#answer()) as Hello;
    return { role, hello };
  }

  async ask(order: Order | SoakOrder): Promise<unknown> {
    const answer = this.#answer();
    this.#child.send(order);
    return await answer;
  }

  async usage(): Promise<Usage> {
    return (await this.ask({ kind: 'usage' })) as Usage;
  }

  /** After a collection. */
  async memory(): Promise<Usage> {
    return (await this.ask({ kind: 'memory' })) as Usage;
  }

  async slice(order: Slice): Promise<SliceResult> {
    return (await this.ask(order)) as SliceResult;
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }

  #answer(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null): void =>
        reject(new Error(`a process of the bench ended with ${String(code)}`));
      this.#child.once('exit', onExit);
      this.#child.once('message', (message) => {
        this.#child.removeListener('exit', onExit);
        resolve(message);
      });
    });
  }
}

/** Who takes part in a comparison. */
export interface Contestant {
  readonly name: string;
  readonly variant: Variant;
  readonly wire: Wire;
  /** Starts the proxies between client and server. */
  readonly proxies?: StartProxies;
}

/** A server and a client of one contestant, and what is between them. */
export class Side {
  readonly server: Role;
  readonly client: Role;
  readonly #proxies: ProxyPair | undefined;

  private constructor(server: Role, client: Role, proxies: ProxyPair | undefined) {
    this.server = server;
    this.client = client;
    this.#proxies = proxies;
  }

  /** Starts everything, and warms it by count. */
  static async start(
    { variant, wire, proxies }: Contestant,
    material: Material,
    warm: number,
  ): Promise<Side> {
    const config = { variant, wire, material, policies: 100 };
    const { role: server, hello } = await Role.start('server', { ...config, ports: [] });
    const { ports = [] } = hello;
    const pair = await proxies?.(ports[0] ?? 0, material);
    const { role: client } = await Role.start('client', {
      ...config,
      ports: pair === undefined ? ports : [pair.port],
    });
    const slice: Slice = { kind: 'slice', load: { concurrency: 16 }, ms: 500 };
    // Where a machine is too busy for that, as far as half a minute goes.
    for (let done = 0, slices = 0; done < warm && slices < 60; slices++) {
      const { requests, reason } = await client.slice(slice);
      if (requests === 0) throw new Error(`${variant} does not answer: ${reason}`);
      done += requests;
    }
    return new Side(server, client, pair);
  }

  /** CPU of everything but the client, in microseconds. */
  async serverCpuUs(): Promise<number> {
    const { cpuUs } = await this.server.usage();
    return (this.#proxies?.pids ?? []).reduce((sum, pid) => sum + cpuUsOf(pid), cpuUs);
  }

  stop(): void {
    this.client.stop();
    this.#proxies?.stop();
    this.server.stop();
  }
}
