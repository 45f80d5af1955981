import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const demoDir = join(root, 'examples', 'demo', 'dist');
export const peerFiles = join(root, 'packages', 'acceptance', 'peers');

/** A line that cannot run here; fails under REQUIRE_INTEROP=1. */
export class Skip extends Error {}

/** Fails the line unless `condition` holds. */
export function check(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export function run(
  file: string,
  args: readonly string[],
  options: {
    readonly input?: string | Buffer;
    readonly env?: NodeJS.ProcessEnv;
    readonly cwd?: string;
    readonly timeoutMs?: number;
  } = {},
): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(
      file,
      [...args],
      {
        maxBuffer: 64 * 1024 * 1024,
        timeout: options.timeoutMs ?? 60_000,
        ...(options.env && { env: options.env }),
        ...(options.cwd && { cwd: options.cwd }),
      },
      (error, stdout, stderr) =>
        resolve({
          code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1,
          stdout,
          stderr,
        }),
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits for something; `what` says what in the error. */
export async function until(
  what: string,
  timeoutMs: number,
  isDone: () => boolean | Promise<boolean>,
): Promise<number> {
  const start = performance.now();
  for (;;) {
    if (await isDone()) return performance.now() - start;
    if (performance.now() - start > timeoutMs) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(20);
  }
}

export interface Service {
  readonly name: string;
  readonly replica?: number;
  readonly pid: number;
  readonly host: string;
  readonly port: number;
  readonly framework: string;
  readonly mode: string;
  readonly identity: string;
  /** What it writes to standard error. */
  readonly log: string;
}

export interface Fleet {
  readonly services: readonly Service[];
  readonly caDir: string;
  readonly bundle: string;
  readonly policyDir: string;
  readonly log: string;
}

/** Everything this run started and wrote, to be ended and removed. */
export class Bench {
  readonly dir = mkdtempSync(join(tmpdir(), 'inmesh-acceptance-'));
  readonly #children: ChildProcess[] = [];
  #count = 0;

  /** Path of a file or directory of this run. */
  path(...parts: readonly string[]): string {
    return join(this.dir, ...parts);
  }

  /** A new empty directory. */
  newDir(label: string): string {
    this.#count++;
    const dir = this.path(`${label}-${this.#count}`);
    mkdirSync(dir);
    return dir;
  }

  /** Starts one more service, configured by `env` alone. */
  async service(
    name: string,
    env: Readonly<Record<string, string>>,
    cwd = this.dir,
    script = join(demoDir, 'services', 'any.js'),
  ): Promise<Service> {
    return (await this.running(name, env, script, cwd)).service;
  }

  /** As {@link service}; also tells its exit code, when it has one. */
  async running(
    name: string,
    env: Readonly<Record<string, string>>,
    script: string,
    cwd = this.dir,
  ): Promise<{ readonly service: Service; readonly exited: Promise<number | null> }> {
    this.#count++;
    const log = this.path(`${name}-${this.#count}.log`);
    const fd = openSync(log, 'a');
    const child = fork(script, [], {
      env: { PATH: process.env['PATH'], INMESH_SERVICE_NAME: name, INMESH_DRAIN_DELAY: '0ms', ...env },
      stdio: ['ignore', fd, fd, 'ipc'],
      cwd,
    });
    closeSync(fd);
    this.#children.push(child);
    const told = await new Promise<Service>((resolve, reject) => {
      child.once('message', (message) => resolve(message as Service));
      child.once('exit', (code) =>
        reject(new Error(`${name} ended with ${String(code)}: ${readFileSync(log, 'utf8').slice(-600)}`)),
      );
    });
    child.disconnect();
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    return { service: { ...told, log }, exited };
  }

  /** Starts a program of somebody else's; ended with this run. */
  program(file: string, args: readonly string[], log: string): ChildProcess {
    const fd = openSync(log, 'a');
    const child = spawn(file, [...args], { stdio: ['ignore', 'pipe', fd] });
    closeSync(fd);
    this.#children.push(child);
    return child;
  }

  /** Ends what this run started, and nothing that only has its pid by now. */
  async end({ pid }: { readonly pid?: number | undefined }): Promise<void> {
    const child = this.#children.findLast((one) => one.pid === pid);
    if (pid === undefined || child === undefined || hasEnded(child)) return;
    // By its handle: Node sends nothing to what it knows has ended.
    child.kill('SIGTERM');
    await until(`end of ${String(pid)}`, 15_000, () => hasEnded(child)).catch(() => child.kill('SIGKILL'));
  }

  async close(keep: boolean): Promise<void> {
    await Promise.all(this.#children.map((child) => this.end(child)));
    if (!keep) rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Whether a process that we started has ended. */
export function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** JSON lines of a log. */
export function logLines(file: string): readonly Record<string, unknown>[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Starts the demo and leaves it running. */
export async function startDemo(): Promise<Fleet> {
  const { stdout, stderr, code } = await run(
    process.execPath,
    [join(demoDir, 'main.js'), '--detach', '--json'],
    { timeoutMs: 120_000 },
  );
  check(code === 0, `the demo did not start: ${stderr}`);
  const fleet = JSON.parse(stdout) as Fleet;
  return { ...fleet, services: fleet.services.map((service) => ({ ...service, log: fleet.log })) };
}

export async function stopDemo(): Promise<void> {
  await run(process.execPath, [join(demoDir, 'main.js'), '--stop']);
}

/** Where a service serves its metrics. */
export async function metricsPort(service: Service): Promise<number> {
  let port = 0;
  await until(`metrics of ${service.name}`, 5000, () => {
    const line = logLines(service.log).find((one) => one['msg'] === 'metrics and probes are served');
    port = Number(line?.['port'] ?? 0);
    return port > 0;
  });
  return port;
}
