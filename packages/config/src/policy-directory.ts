import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type AuthorizationPolicy,
  createTimer,
  isMeshError,
  type Logger,
  MeshError,
  type Runtime,
  type Watch,
  WatchSource,
} from '@inmesh/core';
import { frameError, parsePolicies } from './policy-documents.js';

const maxFiles = 1000;
const maxBytes = 1_048_576;

/** What {@link createPolicyDirectory} needs. */
export interface PolicyDirectoryOptions {
  /** The directory; its `*.yaml`, `*.yml` and `*.json` are read, nothing below it. */
  readonly dir: string;
  /** Namespace of policies that name none. */
  readonly namespace: string;
  /** Refuses a set that cannot be enforced, by throwing. */
  readonly check: (policies: readonly AuthorizationPolicy[]) => void;
  /** How often it is read, in milliseconds; a change is used when two readings agree. @defaultValue 250 */
  readonly pollMs?: number;
  /** Time. */
  readonly runtime: Runtime;
  /** Told about sets that were refused. */
  readonly logger: Logger;
}

/** The policies of a directory. Gone if the first reading fails; afterwards the last good set stays. */
export interface PolicyDirectory extends Watch<readonly AuthorizationPolicy[]> {
  /** Stops reading. */
  close(): void;
}

type Files = ReadonlyMap<string, string>;

async function readOnce(dir: string): Promise<Files> {
  const names = (await readdir(dir))
    .filter((name) => !name.startsWith('.') && /\.(?:ya?ml|json)$/.test(name))
    .toSorted();
  if (names.length > maxFiles) throw new Error(`it has ${names.length} files, at most ${maxFiles} are read`);
  const files = new Map<string, string>();
  for (const name of names) {
    const file = join(dir, name);
    const { size } = await stat(file);
    if (size > maxBytes) throw new Error(`${file} has ${size} bytes, at most ${maxBytes} are read`);
    files.set(file, await readFile(file, 'utf8'));
  }
  return files;
}

/** Kubernetes swaps all files of a volume at once by one symbolic link. */
async function dataLink(dir: string): Promise<string> {
  return await realpath(join(dir, '..data')).catch(() => '');
}

/** Reads the directory as one: again if Kubernetes swapped it meanwhile. */
async function readWhole(dir: string): Promise<Files> {
  for (let attempt = 0; ; attempt++) {
    const before = await dataLink(dir);
    const files = await readOnce(dir);
    if (before === (await dataLink(dir)) || attempt === 4) return files;
  }
}

function fingerprint(files: Files): string {
  return JSON.stringify([...files]);
}

class DirectorySource extends WatchSource<readonly AuthorizationPolicy[]> implements PolicyDirectory {
  readonly #options: PolicyDirectoryOptions;
  readonly #timer = createTimer(() => void this.#poll());
  #seen = '';
  #applied = '';
  #complaint = '';
  #isClosed = false;

  constructor(options: PolicyDirectoryOptions) {
    super();
    this.#options = options;
    void this.#poll();
  }

  close(): void {
    this.#isClosed = true;
    this.#options.runtime.disarm(this.#timer);
  }

  async #poll(): Promise<void> {
    const isFirst = this.state.kind !== 'ready';
    try {
      const files = await readWhole(this.#options.dir);
      if (this.#isClosed) return;
      const content = fingerprint(files);
      // A writer may be half through a file: a policy cut short would be a hole. Two readings must agree.
      const isSteady = isFirst || content === this.#seen;
      this.#seen = content;
      if (isSteady && content !== this.#applied) this.#apply(files, content);
      else if (content === this.#applied) this.#complaint = '';
    } catch (error) {
      if (this.#isClosed) return;
      this.#complain(error);
    }
    if (this.state.kind === 'ready') this.#options.runtime.arm(this.#timer, this.#options.pollMs ?? 250);
  }

  #apply(files: Files, content: string): void {
    const { dir, namespace, check } = this.#options;
    if (files.size === 0)
      throw new MeshError(
        'INMESH_ERR_POLICY_UNREADABLE',
        `policy directory ${dir} holds no policy file (*.yaml, *.yml, *.json)`,
      );
    const policies = [...files].flatMap(([file, text]) => parsePolicies(text, file, { namespace }));
    try {
      check(policies);
    } catch (error) {
      throw frameError(error, files);
    }
    this.#applied = content;
    this.#complaint = '';
    this.set(Object.freeze(policies));
  }

  #complain(cause: unknown): void {
    const { dir, logger } = this.#options;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const error = isMeshError(cause)
      ? cause
      : new MeshError('INMESH_ERR_POLICY_UNREADABLE', `policy directory ${dir} cannot be read: ${reason}`, {
          cause,
        });
    if (this.state.kind !== 'ready') {
      this.withdraw(error);
      return;
    }
    this.fail(error);
    if (reason === this.#complaint) return;
    this.#complaint = reason;
    logger.error({ error, dir }, 'policies rejected, the last good set stays in force');
  }
}

/** Watches a directory of policies. */
export function createPolicyDirectory(options: PolicyDirectoryOptions): PolicyDirectory {
  return new DirectorySource(options);
}
