import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** A process, told apart from any that gets its pid later. */
export interface ProcessMark {
  readonly pid: number;
  /** When it began, as the system writes it; empty if it is gone or nothing is known: then it is nobody's. */
  readonly startedAt: string;
}

/** Field 22 of `/proc/<pid>/stat`, in ticks since boot; empty for one that has ended. proc_pid_stat(5). */
function startInProc(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The name, field 2, may hold anything, parentheses and spaces too.
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return state === 'Z' || state === 'X' ? '' : `${boot} ${fields[18] ?? ''}`;
}

function startOf(pid: number): string {
  try {
    if (process.platform === 'linux') return startInProc(pid);
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
  } catch {
    return '';
  }
}

/** The mark of a process that runs now. */
export function markOf(pid: number): ProcessMark {
  return { pid, startedAt: startOf(pid) };
}

/** Whether it still runs. */
export function isRunning({ pid, startedAt }: ProcessMark): boolean {
  return startedAt !== '' && startOf(pid) === startedAt;
}

function signal(mark: ProcessMark, name: NodeJS.Signals): void {
  try {
    if (isRunning(mark)) process.kill(mark.pid, name);
  } catch {
    // It ended meanwhile.
  }
}

/** Ends processes, and nothing that only has their pid. @param patienceMs - Before they are killed. */
export async function stopAll(marks: readonly ProcessMark[], patienceMs = 10_000): Promise<void> {
  for (const mark of marks) signal(mark, 'SIGTERM');
  const end = performance.now() + patienceMs;
  while (performance.now() < end && marks.some(isRunning))
    await new Promise((resolve) => setTimeout(resolve, 100));
  for (const mark of marks) signal(mark, 'SIGKILL');
}
