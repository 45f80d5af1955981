import { type ChildProcess, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

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

const alive = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

/** Keeps a process from outliving this one. */
export function adopt(child: ChildProcess): void {
  alive.add(child);
  child.once('exit', () => alive.delete(child));
}

/** A command that runs another on a core, from its first thread on; the process is the other's own. */
export function onCore(core: number, program: string, args: readonly string[]): readonly [string, string[]] {
  return hasTaskset ? ['taskset', ['-c', String(core), program, ...args]] : [program, [...args]];
}

/** Moves a process that runs to a core. */
export function pin({ pid }: ChildProcess, core: number): void {
  if (hasTaskset && pid !== undefined)
    execFileSync('taskset', ['-acp', String(core), String(pid)], { stdio: 'ignore' });
}

/** CPU that a foreign process has used so far, in microseconds: all its threads, by the kernel's scheduler. */
export function cpuUsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, task) => {
    const [ns = '0'] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ');
    return sum + Number(ns) / 1000;
  }, 0);
}

/** CPU that the whole machine has used so far, in microseconds; `undefined` where it is not told. */
export function machineCpuUs(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const [, ...fields] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.split(/\s+/) ?? [];
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields.map(Number);
  // In hundredths of a second.
  return (user + nice + system + irq + softirq + steal) * 10_000;
}
