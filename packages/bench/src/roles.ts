import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Order, RoleConfig, SliceResult, Usage } from './protocol.js';

const hasTaskset = ((): boolean => {
  try {
    execFileSync('taskset', ['-p', String(process.pid)], { stdio: 'ignore' });
    return availableParallelism() > 1;
  } catch {
    return false;
  }
})();

/** Whether server and client have a core each. */
export const isPinned = hasTaskset;

/** A process with a role: it answers one order at a time. */
export class Role {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(
    script: 'client' | 'server',
    config: RoleConfig,
    core: number,
  ): Promise<{ readonly role: Role; readonly first: { readonly port?: number } }> {
    const child = fork(
      fileURLToPath(new URL(`${script}-process.js`, import.meta.url)),
      [JSON.stringify(config)],
      { execArgv: ['--expose-gc', '--no-warnings'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    );
    if (hasTaskset && child.pid !== undefined)
      execFileSync('taskset', ['-acp', String(core), String(child.pid)], { stdio: 'ignore' });
    const role = new Role(child);
    const first = (await role.#answer()) as { readonly port?: number };
    return { role, first };
  }

  async ask(order: Order): Promise<unknown> {
    const answer = this.#answer();
    this.#child.send(order);
    return await answer;
  }

  async usage(): Promise<Usage> {
    return (await this.ask({ kind: 'usage' })) as Usage;
  }

  async slice(order: Order): Promise<SliceResult> {
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

/** A server and a client of one variant. */
export interface Side {
  readonly server: Role;
  readonly client: Role;
}

/** Starts both, and warms them by count. */
export async function startSide(config: Omit<RoleConfig, 'port'>, warm: number): Promise<Side> {
  const { role: server, first } = await Role.start('server', config, 1);
  const { role: client } = await Role.start('client', { ...config, port: first.port ?? 0 }, 0);
  for (let done = 0; done < warm; )
    done += Math.max(1, (await client.slice({ kind: 'slice', load: { concurrency: 16 }, ms: 500 })).requests);
  return { server, client };
}
