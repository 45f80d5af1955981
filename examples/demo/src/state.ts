import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isRunning, type ProcessMark, stopAll } from './processes.js';

/** What `--stop` needs to know of a demo that was left running. */
interface Left {
  /** Holds everything it wrote. */
  readonly dir: string;
  readonly processes: readonly ProcessMark[];
}

/** Begins the name of a directory of the demo. */
export const dirPrefix = 'inmesh-demo-';

/** The demo that a checkout left running. It is kept in the checkout: another one has its own. */
export class DemoState {
  readonly #dir: string;

  /** @param dir - Of this checkout alone. */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Remembers a demo. */
  write(left: Left): void {
    mkdirSync(this.#dir, { recursive: true });
    writeFileSync(this.#file, JSON.stringify(left), { mode: 0o600 });
  }

  /** Whether anything of it still runs. */
  isRunning(): boolean {
    return this.#read()?.processes.some(isRunning) ?? false;
  }

  /** Ends it and removes what it wrote. @returns whether there was one */
  async stop(): Promise<boolean> {
    const left = this.#read();
    if (left === undefined) return false;
    await stopAll(left.processes);
    if (basename(left.dir).startsWith(dirPrefix)) rmSync(left.dir, { recursive: true, force: true });
    rmSync(this.#dir, { recursive: true, force: true });
    return true;
  }

  get #file(): string {
    return join(this.#dir, 'demo.json');
  }

  #read(): Left | undefined {
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8')) as Left;
    } catch {
      return undefined;
    }
  }
}
