import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  createTimer,
  isMeshError,
  type Logger,
  MeshError,
  type MeshErrorCode,
  type Runtime,
  type Watch,
  WatchSource,
} from '@inmesh/core';

const maxFiles = 1000;
const maxBytes = 1_048_576;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Texts by the name of the file. */
export type Files = ReadonlyMap<string, string>;

/** What {@link watchFiles} needs. */
export interface WatchedFilesOptions<T> {
  /** A file, or a directory of which `*.yaml`, `*.yml` and `*.json` are read, nothing below it. */
  readonly path: string;
  /** What it is, for messages: `policy directory`. */
  readonly what: string;
  /** Code of what cannot be read. */
  readonly code: MeshErrorCode;
  /** Makes a value of the texts, or refuses them by throwing. */
  readonly make: (files: Files) => T | Promise<T>;
  /** Lets go of a value that was made while the watch was closed. @defaultValue nothing holds on to anything */
  readonly discard?: (value: T) => void;
  /** What is logged where a value was refused and the one before stays. */
  readonly complaint: string;
  /** How often it is read, in milliseconds; a change is used when two readings agree. @defaultValue 250 */
  readonly pollMs?: number | undefined;
  /** Time. */
  readonly runtime: Runtime;
  /** Told about texts that were refused. */
  readonly logger: Logger;
}

/** What was made of files. Gone if the first reading fails; afterwards the last good value stays. */
export interface WatchedFiles<T> extends Watch<T> {
  /** How often something that is there now was refused while a good value was in force. */
  readonly refusals: number;
  /** Stops reading. */
  close(): void;
}

async function readText(file: string): Promise<string> {
  const found = await stat(file);
  // To read a pipe is to wait for its writer, and nothing changes meanwhile.
  if (!found.isFile()) throw new Error(`${file} is not a file`);
  const { size } = found;
  if (size > maxBytes) throw new Error(`${file} has ${size} bytes, at most ${maxBytes} are read`);
  try {
    return utf8.decode(await readFile(file));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // Read as something else a name or a value would be another one, which matches nothing.
    throw new Error(`${file} is not UTF-8`, { cause: error });
  }
}

async function readOnce(dir: string): Promise<Files> {
  const names = (await readdir(dir))
    .filter((name) => !name.startsWith('.') && /\.(?:ya?ml|json)$/.test(name))
    .toSorted();
  if (names.length > maxFiles) throw new Error(`it has ${names.length} files, at most ${maxFiles} are read`);
  const files = new Map<string, string>();
  for (const name of names) files.set(join(dir, name), await readText(join(dir, name)));
  return files;
}

/** Kubernetes swaps all files of a volume at once by one symbolic link. */
async function dataLink(dir: string): Promise<string> {
  return await realpath(join(dir, '..data')).catch(() => '');
}

/**
 * Reads a file, or a directory as one: again if Kubernetes swapped it meanwhile.
 *
 * @throws Error of the system, or because there is too much.
 */
export async function readFiles(path: string): Promise<Files> {
  if ((await stat(path)).isFile()) return new Map([[path, await readText(path)]]);
  for (let attempt = 0; ; attempt++) {
    const before = await dataLink(path);
    const files = await readOnce(path);
    if (before === (await dataLink(path)) || attempt === 4) return files;
  }
}

function fingerprint(files: Files): string {
  return JSON.stringify([...files]);
}

class FileWatch<T> extends WatchSource<T> implements WatchedFiles<T> {
  refusals = 0;
  readonly #options: WatchedFilesOptions<T>;
  readonly #timer = createTimer(() => void this.#poll());
  #seen: string;
  #applied: string;
  /** What was refused already. */
  #refused: string | undefined;
  #complaint = '';
  #isClosed = false;

  constructor(options: WatchedFilesOptions<T>, first?: { readonly files: Files; readonly value: T }) {
    super();
    this.#options = options;
    this.#seen = first === undefined ? '' : fingerprint(first.files);
    this.#applied = this.#seen;
    if (first === undefined) {
      void this.#poll();
      return;
    }
    this.set(first.value);
    this.#arm();
  }

  close(): void {
    this.#isClosed = true;
    this.#options.runtime.disarm(this.#timer);
  }

  #arm(): void {
    if (!this.#isClosed) this.#options.runtime.arm(this.#timer, this.#options.pollMs ?? 250);
  }

  async #poll(): Promise<void> {
    const isFirst = this.state.kind !== 'ready';
    let isRead = false;
    try {
      const files = await readFiles(this.#options.path);
      isRead = true;
      if (this.#isClosed) return;
      const content = fingerprint(files);
      // A writer may be half through a file: a policy cut short would be a hole. Two readings must agree.
      const isSteady = isFirst || content === this.#seen;
      this.#seen = content;
      // Undone by hand: what is on disk is what is in force.
      if (content === this.#applied) this.#recover();
      else if (isSteady && content !== this.#refused) await this.#apply(files, content);
    } catch (error) {
      if (this.#isClosed) return;
      this.#complain(error, isRead);
    }
    if (this.state.kind === 'ready') this.#arm();
  }

  async #apply(files: Files, content: string): Promise<void> {
    this.#refused = content;
    const value = await this.#options.make(files);
    if (this.#isClosed) {
      this.#options.discard?.(value);
      return;
    }
    this.#applied = content;
    this.#refused = undefined;
    this.#complaint = '';
    this.set(value);
  }

  #recover(): void {
    const { state } = this;
    this.#refused = undefined;
    if (this.#complaint === '') return;
    this.#complaint = '';
    if (state.kind === 'ready') this.set(state.value);
  }

  /** @param isRead - Whether it could be read: then it is refused once, and not with each reading. */
  #complain(cause: unknown, isRead: boolean): void {
    const { path, what, code, complaint, logger } = this.#options;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const error = isMeshError(cause)
      ? cause
      : new MeshError(code, `${what} ${path} cannot be read: ${reason}`, { cause });
    if (this.state.kind !== 'ready') {
      this.withdraw(error);
      return;
    }
    if (isRead || reason !== this.#complaint) this.refusals++;
    if (reason === this.#complaint) return;
    this.#complaint = reason;
    this.fail(error);
    logger.error({ error, path }, complaint);
  }
}

/**
 * Watches a file or a directory.
 *
 * @param first - What was read and made before; what is there is read at once if it is left out.
 */
export function watchFiles<T>(
  options: WatchedFilesOptions<T>,
  first?: { readonly files: Files; readonly value: T },
): WatchedFiles<T> {
  return new FileWatch(options, first);
}
